#include <assert.h>
#include <string.h>

#include "layer_norm/layer_norm.h"

const esp_layer_norm *esp_layer_norm_of(esp_isa isa) {
  static const esp_layer_norm *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_layer_norm_scalar, &esp_layer_norm_avx2, &esp_layer_norm_avx512, &esp_layer_norm_scalar);
  return table[isa];
}

void esp_layer_norm_forward(esp_isa isa, const float *restrict x, const float *scale, const float *shift, float epsilon,
                            size_t samples, size_t features, size_t tokens, size_t lanes, float *restrict y,
                            float *restrict mean, float *restrict inverse_deviation, int threads) {
  assert(features > 0 && lanes > 0 && lanes <= 32);
  const esp_layer_norm *const kernels = esp_layer_norm_of(isa);
  const esp_layer_norm_shape shape = {features, tokens, samples, lanes};
  const size_t pieces = esp_block_count(samples, lanes) * tokens;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->forward(x, scale, shift, epsilon, &shape, esp_part(pieces, t, threads), esp_part(pieces, t + 1, threads),
                     y, mean, inverse_deviation);
}

size_t esp_layer_norm_workspace(size_t samples, size_t features, size_t tokens, size_t lanes) {
  return esp_block_count(samples, lanes) * esp_groups(tokens) * 2 * features;
}

/// gradients [2, features] are the sums over groups, in order.
static void add_groups(const double *sums, size_t groups, size_t features, size_t first, size_t last,
                       float *scale_gradient, float *shift_gradient) {
  for (size_t f = first; f < last; f++) {
    double scale_sum = 0, shift_sum = 0;
    for (size_t group = 0; group < groups; group++) {
      scale_sum += sums[group * 2 * features + f];
      shift_sum += sums[(group * 2 + 1) * features + f];
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
  const esp_layer_norm *const kernels = esp_layer_norm_of(isa);
  const esp_layer_norm_shape shape = {features, tokens, samples, lanes};
  const size_t groups = esp_block_count(samples, lanes) * esp_groups(tokens);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    const size_t first = esp_part(groups, t, threads), last = esp_part(groups, t + 1, threads);
    memset(workspace + first * 2 * features, 0, (last - first) * 2 * features * sizeof *workspace);
    kernels->backward(x, d, scale, mean, inverse_deviation, NULL, &shape, first, last, dx, workspace);
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    add_groups(workspace, groups, features, esp_part(features, t, threads), esp_part(features, t + 1, threads),
               scale_gradient, shift_gradient);
}
