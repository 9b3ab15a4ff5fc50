#ifndef ESP_CONV_SDDMM_VARIANTS_H
#define ESP_CONV_SDDMM_VARIANTS_H

#include "../include/esp_sparse_conv.h"

/// The output positions of a band whose input for one tap lies inside the image (half-open ranges).
typedef struct esp_tap_window {
  size_t top, bottom, left, right;
} esp_tap_window;

/// The window of tap (ky, kx) among the output rows [first_row, last_row); top >= bottom or left >= right where it is
/// empty.
esp_tap_window esp_tap_window_make(const esp_conv_shape *shape, size_t ky, size_t kx, size_t first_row,
                                   size_t last_row);

/// One block's and one band's part of G, output rows [first_row, last_row), at the connections [first, last): x and d
/// point to the block. Overwrites G where `accumulate` is 0, adds to it elsewhere. Serial.
typedef void esp_conv_sddmm_connections(const esp_csr *pattern, const esp_conv_shape *shape, size_t lanes,
                                        size_t first_row, size_t last_row, const float *restrict x,
                                        const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                        uint64_t last);

esp_conv_sddmm_connections esp_conv_sddmm_connections_scalar;
#if defined(__x86_64__)
esp_conv_sddmm_connections esp_conv_sddmm_connections_avx2;
#endif

#endif
