#include "optimizer/optimizer.h"

ESP_DEFINE_KERNELS_OF(esp_optimizer)

void esp_sgd(esp_isa isa, float *restrict w, const float *restrict g, float *restrict v, size_t n, float learning_rate,
             float momentum, float weight_decay, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->sgd(w, g, v, esp_part(n, t, threads), esp_part(n, t + 1, threads), learning_rate, momentum, weight_decay);
}

void esp_adamw_step(esp_isa isa, const esp_adamw *rule, const float *restrict g, size_t n, float *restrict w,
                    float *restrict m, float *restrict v, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->adamw(rule, g, esp_part(n, t, threads), esp_part(n, t + 1, threads), w, m, v);
}

/// Parts of a sum, so that it does not depend on the number of threads.
enum { SUM_PARTS = 64 };

double esp_square_sum(esp_isa isa, const float *x, size_t n, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
  double parts[SUM_PARTS];
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int p = 0; p < SUM_PARTS; p++)
    parts[p] = kernels->square_sum(x, esp_part(n, p, SUM_PARTS), esp_part(n, p + 1, SUM_PARTS));
  double sum = 0;
  for (int p = 0; p < SUM_PARTS; p++) sum += parts[p];
  return sum;
}

void esp_scale(esp_isa isa, float factor, size_t n, float *x, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->scale(factor, esp_part(n, t, threads), esp_part(n, t + 1, threads), x);
}

int esp_all_finite(esp_isa isa, const float *x, size_t n, int threads) {
  const esp_optimizer *const kernels = kernels_of(isa);
  int finite = 1;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(& : finite)
  for (int t = 0; t < threads; t++)
    finite &= kernels->all_finite(x, esp_part(n, t, threads), esp_part(n, t + 1, threads));
  return finite;
}
