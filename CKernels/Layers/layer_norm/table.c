#include <assert.h>

#include "layer_norm/layer_norm.h"

ESP_DEFINE_KERNELS_OF(esp_layer_norm)

void esp_layer_norm_forward(esp_isa isa, const float *restrict x, const float *scale, const float *shift, float epsilon,
                            size_t samples, size_t features, size_t tokens, size_t lanes, float *restrict y,
                            float *restrict mean, float *restrict inverse_deviation, int threads) {
  assert(features > 0 && lanes > 0 && lanes <= 32);
  const esp_layer_norm *const kernels = kernels_of(isa);
  const esp_layer_norm_shape shape = {features, tokens * lanes, samples, lanes};
  const size_t strips = esp_block_count(samples, lanes) * esp_strips(shape.plane);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->forward(x, scale, shift, epsilon, &shape, esp_part(strips, t, threads), esp_part(strips, t + 1, threads),
                     y, mean, inverse_deviation);
}

size_t esp_layer_norm_workspace(size_t samples, size_t features, size_t tokens, size_t lanes) {
  return esp_block_count(samples, lanes) * esp_strips(tokens * lanes) * 2 * features;
}

/// gradients [2, features] are the sums over strips, in order.
static void add_strips(const double *sums, size_t strips, size_t features, size_t first, size_t last,
                       float *scale_gradient, float *shift_gradient) {
  for (size_t f = first; f < last; f++) {
    double scale_sum = 0, shift_sum = 0;
    for (size_t strip = 0; strip < strips; strip++) {
      scale_sum += sums[strip * 2 * features + f];
      shift_sum += sums[(strip * 2 + 1) * features + f];
    }
    scale_gradient[f] = (float)scale_sum;
    shift_gradient[f] = (float)shift_sum;
  }
}

void esp_layer_norm_backward(esp_isa isa, const float *restrict x, const float *restrict d, const float *scale,
                             const float *mean, const float *inverse_deviation, size_t samples, size_t features,
                             size_t tokens, size_t lanes, float *restrict dx, float *scale_gradient,
                             float *shift_gradient, double *workspace, int threads) {
  assert(features > 0 && lanes > 0 && lanes <= 32);
  const esp_layer_norm *const kernels = kernels_of(isa);
  const esp_layer_norm_shape shape = {features, tokens * lanes, samples, lanes};
  const size_t strips = esp_block_count(samples, lanes) * esp_strips(shape.plane);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->backward(x, d, scale, mean, inverse_deviation, &shape, esp_part(strips, t, threads),
                      esp_part(strips, t + 1, threads), dx, workspace);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    add_strips(workspace, strips, features, esp_part(features, t, threads), esp_part(features, t + 1, threads),
               scale_gradient, shift_gradient);
}
