#ifndef ESP_GRADIENT_TILE_VARIANTS_H
#define ESP_GRADIENT_TILE_VARIANTS_H

#include "../include/esp_sparse_matmul.h"

/// The columns [first, last) of a tile. Overwrites them where `accumulate` is 0, adds to them elsewhere. Serial.
typedef void esp_gradient_tile_columns(const esp_gradient_tile *t, int accumulate, size_t first, size_t last);

esp_gradient_tile_columns esp_gradient_tile_columns_scalar;
#if defined(__x86_64__)
esp_gradient_tile_columns esp_gradient_tile_columns_avx2;
esp_gradient_tile_columns esp_gradient_tile_columns_avx512;
#elif defined(__aarch64__)
esp_gradient_tile_columns esp_gradient_tile_columns_neon;
#endif

#endif
