#ifndef ESP_ATTENTION_H
#define ESP_ATTENTION_H

#include "esp_transformer.h"
#include "variants.h"

/// Serial kernels on the heads first ..< last, of blocks * heads, with a thread's own workspace.
typedef struct esp_attention {
  void (*forward)(const float *restrict qkv, const esp_attention_shape *shape, size_t first, size_t last,
                  float *restrict y, float *restrict statistics, float *restrict workspace);
  void (*backward)(const float *restrict qkv, const float *restrict d, const float *statistics,
                   const esp_attention_shape *shape, size_t first, size_t last, float *restrict dqkv,
                   float *restrict workspace);
} esp_attention;

extern const esp_attention esp_attention_scalar, esp_attention_avx2, esp_attention_avx512, esp_attention_neon;

#endif
