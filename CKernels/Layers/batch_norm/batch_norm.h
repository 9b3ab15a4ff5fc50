#ifndef ESP_BATCH_NORM_H
#define ESP_BATCH_NORM_H

#include "esp_layers.h"
#include "variants.h"

/// A channel's constants: y = (x - mean) * factor + shift.
typedef struct esp_channel_map {
  float mean, factor, shift;
} esp_channel_map;

/// Mean and sum of squared distances from it, of one channel of one block.
typedef struct esp_moments {
  double mean, squares;
} esp_moments;

/// Sums over one channel of one block: of g, the gradient that passes the activation, of g * (x - mean), and of dx.
typedef struct esp_norm_sums {
  double gradient, product, input;
} esp_norm_sums;

/// Where a channel's gradients go to and come from; the pointers are to whole activations.
typedef struct esp_norm_gradients {
  const float *x, *y, *d;
  float *dx, *residual;
} esp_norm_gradients;

/// dx = factor * (g - offset - (x - mean) * slope)
typedef struct esp_norm_correction {
  float offset, slope;
} esp_norm_correction;

/// Serial kernels on channel c of the blocks first ..< last; what they return of block b goes to the b-th entry.
typedef struct esp_batch_norm_kernels {
  void (*moments)(const esp_batch_norm *norm, size_t c, size_t first, size_t last, const float *x,
                  esp_moments *moments);
  void (*apply)(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last, const float *x,
                const float *residual, float *restrict y);
  void (*reduce)(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last,
                 const esp_norm_gradients *gradients, esp_norm_sums *sums);
  void (*correct)(const esp_batch_norm *norm, esp_channel_map map, esp_norm_correction correction, size_t c,
                  size_t first, size_t last, const esp_norm_gradients *gradients, esp_norm_sums *sums);
} esp_batch_norm_kernels;

extern const esp_batch_norm_kernels esp_batch_norm_kernels_scalar, esp_batch_norm_kernels_avx2,
    esp_batch_norm_kernels_avx512;

#endif
