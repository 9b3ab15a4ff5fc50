#ifndef ESP_SPMM_VARIANTS_H
#define ESP_SPMM_VARIANTS_H

#include "../include/esp_sparse_matmul.h"

/// One or two blocks of Y := base + W X + bias: x [blocks, columns, lanes], base and y [blocks, rows, lanes]; one where
/// lanes = 1.
typedef struct esp_spmm_task {
  const esp_csr *w;
  const float *values;
  const float *bias;  // or NULL
  const float *base;  // or NULL
  int streams;        // 1 where y is written past the caches
  int tiled;          // 1 where the rows are whole bands of w's tiles, in one block
  size_t blocks, lanes;
  const float *x;
  float *y;
} esp_spmm_task;

/// Rows [first, last) of the task. Serial.
typedef void esp_spmm_rows(const esp_spmm_task *task, size_t first, size_t last);

esp_spmm_rows esp_spmm_rows_scalar;
#if defined(__x86_64__)
esp_spmm_rows esp_spmm_rows_avx2;
esp_spmm_rows esp_spmm_rows_avx512;
#elif defined(__aarch64__)
esp_spmm_rows esp_spmm_rows_neon;
#endif

#endif
