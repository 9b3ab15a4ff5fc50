#ifndef ESP_LINEAR_BACKWARD_VARIANTS_H
#define ESP_LINEAR_BACKWARD_VARIANTS_H

#include "../include/esp_sparse_matmul.h"

/// A linear layer's way back, in one block or more.
typedef struct esp_linear_backward_task {
  esp_csr w;            // transposed: rows are the layer's inputs, columns its outputs
  const float *values;  // in its order, as g
  size_t blocks, lanes;
  const float *x, *d;  // [blocks, rows, lanes], [blocks, columns, lanes]
  const float *base;   // [blocks, rows, lanes] or NULL
  float *dx;           // [blocks, rows, lanes]
  int accumulate;      // 0 where g is overwritten
  float *g;
} esp_linear_backward_task;

/// Rows [first, last) of the task, and their connections. Serial.
typedef void esp_linear_backward_rows(const esp_linear_backward_task *task, size_t first, size_t last);

esp_linear_backward_rows esp_linear_backward_rows_scalar;
#if defined(__x86_64__)
esp_linear_backward_rows esp_linear_backward_rows_avx2;
esp_linear_backward_rows esp_linear_backward_rows_avx512;
#elif defined(__aarch64__)
esp_linear_backward_rows esp_linear_backward_rows_neon;
#endif

#endif
