#ifndef ESP_LAYER_NORM_H
#define ESP_LAYER_NORM_H

#include "esp_transformer.h"
#include "variants.h"

/// Tokens of a block whose gradients are worked on at once: their part of the scale's and the shift's gradient is one.
enum { GROUP = 4 };

typedef struct esp_layer_norm_shape {
  size_t features, tokens, samples, lanes;
} esp_layer_norm_shape;

static inline size_t esp_groups(size_t tokens) {
  return (tokens + GROUP - 1) / GROUP;
}

/// Serial kernels; a token is [features, lanes].
typedef struct esp_layer_norm {
  /// On the tokens first ..< last, of blocks * tokens.
  void (*forward)(const float *restrict x, const float *scale, const float *shift, float epsilon,
                  const esp_layer_norm_shape *shape, size_t first, size_t last, float *restrict y, float *restrict mean,
                  float *restrict inverse_deviation);
  /// The same by moments that forward has found.
  void (*normalise)(const float *restrict x, const float *scale, const float *shift, const esp_layer_norm_shape *shape,
                    size_t first, size_t last, const float *mean, const float *inverse_deviation, float *restrict y);
  /// On the groups first ..< last, of blocks * groups; base, which may be NULL or dx, is added to dx. To
  /// sums [blocks * groups, 2, features] it adds every group's part of the scale's and of the shift's gradient.
  void (*backward)(const float *x, const float *d, const float *scale, const float *mean,
                   const float *inverse_deviation, const float *base, const esp_layer_norm_shape *shape, size_t first,
                   size_t last, float *dx, double *sums);
} esp_layer_norm;

const esp_layer_norm *esp_layer_norm_of(esp_isa isa);

extern const esp_layer_norm esp_layer_norm_scalar, esp_layer_norm_avx2, esp_layer_norm_avx512;

#endif
