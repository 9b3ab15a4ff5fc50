#ifndef ESP_SPMM_VARIANTS_H
#define ESP_SPMM_VARIANTS_H

#include "../include/esp_sparse_matmul.h"

/// Rows [first, last) of Y := W X + bias in `blocks` blocks: x [blocks, columns, lanes], y [blocks, rows, lanes].
/// Serial.
typedef void esp_spmm_rows(const esp_csr *w, const float *values, const float *bias, size_t blocks, size_t lanes,
                           const float *restrict x, float *restrict y, size_t first, size_t last);

esp_spmm_rows esp_spmm_rows_scalar;
#if defined(__x86_64__)
esp_spmm_rows esp_spmm_rows_avx2;
esp_spmm_rows esp_spmm_rows_avx512;
#elif defined(__aarch64__)
esp_spmm_rows esp_spmm_rows_neon;
#endif

#endif
