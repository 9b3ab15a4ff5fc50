#include "batch_norm/batch_norm.h"

ESP_DEFINE_KERNELS_OF(esp_batch_norm)

void esp_batch_norm_statistics(esp_isa isa, const float *x, size_t channels, size_t positions, size_t samples,
                               size_t lanes, float *mean, float *variance, int threads) {
  const esp_batch_norm *const kernels = kernels_of(isa);
  const esp_norm_shape shape = {channels, positions, samples, lanes};
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->statistics(x, &shape, esp_part(channels, t, threads), esp_part(channels, t + 1, threads), mean, variance);
}

void esp_batch_norm_forward(esp_isa isa, const float *restrict x, const float *mean, const float *variance,
                            const float *scale, const float *shift, float epsilon, int relu, size_t channels,
                            size_t positions, size_t samples, size_t lanes, float *restrict y, int threads) {
  const esp_batch_norm *const kernels = kernels_of(isa);
  const esp_norm_shape shape = {channels, positions, samples, lanes};
  const esp_norm_parameters parameters = {mean, variance, scale, shift, epsilon, relu};
  const size_t planes = esp_block_count(samples, lanes) * channels;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->forward(x, &parameters, &shape, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_batch_norm_backward(esp_isa isa, const float *restrict x, const float *restrict d, const float *mean,
                             const float *variance, const float *scale, const float *shift, float epsilon, int relu,
                             size_t channels, size_t positions, size_t samples, size_t lanes, float *restrict dx,
                             float *scale_gradient, float *shift_gradient, int threads) {
  const esp_batch_norm *const kernels = kernels_of(isa);
  const esp_norm_shape shape = {channels, positions, samples, lanes};
  const esp_norm_parameters parameters = {mean, variance, scale, shift, epsilon, relu};
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->backward(x, d, &parameters, &shape, esp_part(channels, t, threads), esp_part(channels, t + 1, threads), dx,
                      scale_gradient, shift_gradient);
}
