#ifndef ESP_SDDMM_VARIANTS_H
#define ESP_SDDMM_VARIANTS_H

#include "../include/esp_sparse_matmul.h"

/// The part of `blocks` blocks of G at the connections [first, last): x [blocks, columns, lanes], d [blocks, rows,
/// lanes]. Overwrites G where `accumulate` is 0, adds to it elsewhere. Serial.
typedef void esp_sddmm_connections(const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                                   const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                   uint64_t last);

esp_sddmm_connections esp_sddmm_connections_scalar;
#if defined(__x86_64__)
esp_sddmm_connections esp_sddmm_connections_avx2;
esp_sddmm_connections esp_sddmm_connections_avx512;
#elif defined(__aarch64__)
esp_sddmm_connections esp_sddmm_connections_neon;
#endif

#endif
