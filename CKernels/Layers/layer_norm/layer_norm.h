#ifndef ESP_LAYER_NORM_H
#define ESP_LAYER_NORM_H

#include "esp_transformer.h"
#include "variants.h"

/// A block is [features, plane], plane = tokens * lanes: rows whose columns are normalised. Work is cut in strips of
/// STRIP columns, so that a strip of two arrays stays in the L2 cache between passes.
enum { STRIP = 128 };

typedef struct esp_layer_norm_shape {
  size_t features, plane, samples, lanes;
} esp_layer_norm_shape;

static inline size_t esp_strips(size_t plane) {
  return (plane + STRIP - 1) / STRIP;
}

/// Serial kernels on the strips first ..< last, of blocks * strips.
typedef struct esp_layer_norm {
  void (*forward)(const float *restrict x, const float *scale, const float *shift, float epsilon,
                  const esp_layer_norm_shape *shape, size_t first, size_t last, float *restrict y, float *restrict mean,
                  float *restrict inverse_deviation);
  /// sums [blocks * strips, 2, features]: every strip's part of the scale's and of the shift's gradient.
  void (*backward)(const float *restrict x, const float *restrict d, const float *scale, const float *mean,
                   const float *inverse_deviation, const esp_layer_norm_shape *shape, size_t first, size_t last,
                   float *restrict dx, double *sums);
} esp_layer_norm;

extern const esp_layer_norm esp_layer_norm_scalar, esp_layer_norm_avx2;

#endif
