#include "activation/gelu.h"

ESP_DEFINE_KERNELS_OF(esp_gelu)

void esp_gelu_forward(esp_isa isa, const float *restrict x, size_t n, float *restrict y, int threads) {
  const esp_gelu *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->forward(x, esp_part(n, t, threads), esp_part(n, t + 1, threads), y);
}

void esp_gelu_backward(esp_isa isa, const float *restrict x, const float *restrict d, size_t n, float *restrict dx,
                       int threads) {
  const esp_gelu *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->backward(x, d, esp_part(n, t, threads), esp_part(n, t + 1, threads), dx);
}
