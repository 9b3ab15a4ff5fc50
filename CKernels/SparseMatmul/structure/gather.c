#include <assert.h>

#include "../include/esp_sparse_matmul.h"

void esp_remap_f32(const float *restrict in, const uint32_t *restrict remap, size_t n, float fill, float *restrict out,
                   int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < n; i++) out[i] = remap[i] == ESP_REMAP_GROWN ? fill : in[remap[i]];
}

enum {
  AHEAD = 128,    // elements that far ahead are asked for,
  NEAR = 1 << 17  // where there are more than these, which a second-level cache holds
};

void esp_permute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                     int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    size_t i = esp_part(n, part, threads);
    const size_t last = esp_part(n, part + 1, threads);
    for (; n > NEAR && i + AHEAD < last; i++) {
      __builtin_prefetch(in + permutation[i + AHEAD]);
      out[i] = in[permutation[i]];
    }
    for (; i < last; i++) out[i] = in[permutation[i]];
  }
}

void esp_unpermute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                       int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    size_t i = esp_part(n, part, threads);
    const size_t last = esp_part(n, part + 1, threads);
    for (; n > NEAR && i + AHEAD < last; i++) {
      __builtin_prefetch(out + permutation[i + AHEAD], 1);
      out[permutation[i]] = in[i];
    }
    for (; i < last; i++) out[permutation[i]] = in[i];
  }
}
