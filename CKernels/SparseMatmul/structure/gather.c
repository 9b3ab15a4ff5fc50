#include <assert.h>

#include "../include/esp_sparse_matmul.h"

void esp_remap_f32(const float *restrict in, const uint32_t *restrict remap, size_t n, float fill, float *restrict out,
                   int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < n; i++) out[i] = remap[i] == ESP_REMAP_GROWN ? fill : in[remap[i]];
}

void esp_permute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                     int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < n; i++) out[i] = in[permutation[i]];
}
