#include "activation/gelu.h"

/// Unlike its neighbours this one computes more than it waits for memory, so AVX-512 has its own.
const esp_gelu *esp_gelu_of(esp_isa isa) {
  static const esp_gelu *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_gelu_scalar, &esp_gelu_avx2, &esp_gelu_avx512, &esp_gelu_scalar);
  return table[isa];
}

void esp_gelu_forward(esp_isa isa, const float *restrict x, size_t n, float *restrict y, int threads) {
  const esp_gelu *const kernels = esp_gelu_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->forward(x, esp_part(n, t, threads), esp_part(n, t + 1, threads), y);
}

void esp_gelu_backward(esp_isa isa, const float *restrict x, const float *restrict d, size_t n, float *restrict dx,
                       int threads) {
  const esp_gelu *const kernels = esp_gelu_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->backward(x, d, esp_part(n, t, threads), esp_part(n, t + 1, threads), dx);
}
