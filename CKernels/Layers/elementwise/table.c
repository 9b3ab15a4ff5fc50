#include <assert.h>

#include "elementwise/elementwise.h"

ESP_DEFINE_KERNELS_OF(esp_elementwise)

const esp_elementwise *esp_elementwise_of(esp_isa isa) {
  return kernels_of(isa);
}

void esp_relu_forward(esp_isa isa, const float *restrict x, size_t n, float *restrict y, int threads) {
  const esp_elementwise *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->relu_forward(x, esp_part(n, t, threads), esp_part(n, t + 1, threads), y);
}

void esp_relu_backward(esp_isa isa, const float *restrict y, const float *restrict d, size_t n, float *restrict dx,
                       int threads) {
  const esp_elementwise *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->relu_backward(y, d, esp_part(n, t, threads), esp_part(n, t + 1, threads), dx);
}

void esp_add(esp_isa isa, const float *a, const float *b, size_t n, float *y, int threads) {
  const esp_elementwise *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->add(a, b, esp_part(n, t, threads), esp_part(n, t + 1, threads), y);
}

void esp_dropout(esp_isa isa, esp_random_key key, float probability, const float *restrict x, size_t first_sample,
                 size_t blocks, size_t features, size_t lanes, float *restrict y, int threads) {
  assert(probability >= 0 && probability < 1 && lanes <= 32);
  const esp_elementwise *const kernels = kernels_of(isa);
  const size_t items = blocks * features;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->dropout(key, probability, x, first_sample, features, lanes, esp_part(items, t, threads),
                     esp_part(items, t + 1, threads), y);
}

void esp_bias_gradient(esp_isa isa, const float *d, size_t blocks, size_t channels, size_t positions, size_t lanes,
                       float *gradient, int threads) {
  const esp_elementwise *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->bias_gradient(d, blocks, channels, positions * lanes, esp_part(channels, t, threads),
                           esp_part(channels, t + 1, threads), gradient);
}
