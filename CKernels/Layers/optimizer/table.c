#include "optimizer/optimizer.h"

ESP_DEFINE_KERNELS_OF(esp_optimizer)

void esp_sgd(esp_isa isa, float *restrict w, const float *restrict g, float *restrict v, size_t n, float learning_rate,
             float momentum, float weight_decay, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->sgd(w, g, v, esp_part(n, t, threads), esp_part(n, t + 1, threads), learning_rate, momentum, weight_decay);
}

int esp_all_finite(esp_isa isa, const float *x, size_t n, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
  int finite = 1;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(& : finite)
  for (int t = 0; t < threads; t++)
    finite &= kernels->all_finite(x, esp_part(n, t, threads), esp_part(n, t + 1, threads));
  return finite;
}
