#include <assert.h>

#include "pooling/pooling.h"

ESP_DEFINE_KERNELS_OF(esp_pooling)

void esp_max_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                          size_t lanes, float *restrict y, int threads) {
  assert(esp_pool_shape_is_valid(shape));
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->max_forward(x, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_max_pool_backward(esp_isa isa, const float *restrict x, const float *restrict y, const float *restrict d,
                           const esp_pool_shape *shape, size_t planes, size_t lanes, float *restrict dx, int threads) {
  assert(esp_pool_shape_is_valid(shape));
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->max_backward(x, y, d, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), dx);
}

void esp_average_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                              size_t lanes, float *restrict y, int threads) {
  assert(esp_pool_shape_is_valid(shape));
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->average_forward(x, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_average_pool_backward(esp_isa isa, const float *restrict d, const esp_pool_shape *shape, size_t planes,
                               size_t lanes, float *restrict dx, int threads) {
  assert(esp_pool_shape_is_valid(shape));
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->average_backward(d, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), dx);
}

void esp_adaptive_average_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                                       size_t lanes, float *restrict y, int threads) {
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->adaptive_forward(x, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_adaptive_average_pool_backward(esp_isa isa, const float *restrict d, const esp_pool_shape *shape,
                                        size_t planes, size_t lanes, float *restrict dx, int threads) {
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->adaptive_backward(d, shape, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), dx);
}

void esp_global_average_forward(esp_isa isa, const float *restrict x, size_t planes, size_t positions, size_t lanes,
                                float *restrict y, int threads) {
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->global_forward(x, positions, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_global_average_backward(esp_isa isa, const float *restrict d, size_t planes, size_t positions, size_t lanes,
                                 float *restrict dx, int threads) {
  const esp_pooling *const kernels = kernels_of(isa);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->global_backward(d, positions, lanes, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), dx);
}
