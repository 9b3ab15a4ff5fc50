#ifndef ESP_ELEMENTWISE_H
#define ESP_ELEMENTWISE_H

#include "esp_layers.h"
#include "variants.h"

/// Serial kernels on the elements, features or channels first ..< last.
typedef struct esp_elementwise {
  void (*relu_forward)(const float *restrict x, size_t first, size_t last, float *restrict y);
  void (*relu_backward)(const float *restrict y, const float *restrict d, size_t first, size_t last,
                        float *restrict dx);
  void (*add)(const float *a, const float *b, size_t first, size_t last, float *y);
  /// first, last: items of blocks * features.
  void (*dropout)(esp_random_key key, float probability, const float *restrict x, size_t first_sample, size_t features,
                  size_t lanes, size_t first, size_t last, float *restrict y);
  void (*bias_gradient)(const float *d, size_t blocks, size_t channels, size_t plane, size_t first, size_t last,
                        float *gradient);
  /// sums [features] += d [tokens, features, lanes], over tokens and lanes: in float over a few tokens.
  void (*add_tokens)(const float *d, size_t tokens, size_t features, size_t lanes, double *sums);
} esp_elementwise;

const esp_elementwise *esp_elementwise_of(esp_isa isa);

extern const esp_elementwise esp_elementwise_scalar, esp_elementwise_avx2;

#endif
