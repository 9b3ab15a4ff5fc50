#ifndef ESP_BATCH_NORM_H
#define ESP_BATCH_NORM_H

#include "esp_layers.h"
#include "variants.h"

typedef struct esp_norm_shape {
  size_t channels, positions, samples, lanes;
} esp_norm_shape;

/// What the normalisation does, one entry a channel.
typedef struct esp_norm_parameters {
  const float *mean, *variance, *scale, *shift;
  float epsilon;
  int relu;
} esp_norm_parameters;

/// Serial kernels on the channels first ..< last, or on the planes of blocks * channels.
typedef struct esp_batch_norm {
  void (*statistics)(const float *x, const esp_norm_shape *shape, size_t first, size_t last, float *mean,
                     float *variance);
  /// first, last: planes.
  void (*forward)(const float *restrict x, const esp_norm_parameters *parameters, const esp_norm_shape *shape,
                  size_t first, size_t last, float *restrict y);
  void (*backward)(const float *restrict x, const float *restrict d, const esp_norm_parameters *parameters,
                   const esp_norm_shape *shape, size_t first, size_t last, float *restrict dx, float *scale_gradient,
                   float *shift_gradient);
} esp_batch_norm;

extern const esp_batch_norm esp_batch_norm_scalar, esp_batch_norm_avx2;

#endif
