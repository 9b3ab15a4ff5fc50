#ifndef ESP_TOKENS_H
#define ESP_TOKENS_H

#include "esp_transformer.h"
#include "variants.h"

/// Serial kernels on the planes first ..< last of blocks * features.
typedef struct esp_tokens {
  void (*patches_forward)(const float *restrict x, const esp_patch_shape *shape, size_t first, size_t last,
                          float *restrict y);
  void (*patches_backward)(const float *restrict d, const esp_patch_shape *shape, size_t first, size_t last,
                           float *restrict dx);
  void (*add_positions)(const float *restrict embedding, size_t features, size_t tokens, size_t lanes, size_t first,
                        size_t last, float *restrict y);
} esp_tokens;

extern const esp_tokens esp_tokens_scalar, esp_tokens_avx2;

#endif
