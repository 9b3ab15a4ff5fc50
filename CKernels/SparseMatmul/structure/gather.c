#include <assert.h>

#include "../include/esp_sparse_matmul.h"

void esp_remap_f32(const float *restrict in, const uint32_t *restrict remap, size_t n, float fill, float *restrict out,
                   int threads) {
  assert(threads > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < n; i++) out[i] = remap[i] == ESP_REMAP_GROWN ? fill : in[remap[i]];
}

/// Elements [first, last). Values that are `far`, beyond the caches, are asked for early.
static void permute_range(const float *restrict in, const uint32_t *restrict permutation, int far, size_t first,
                          size_t last, float *restrict out) {
  enum { ahead = 128 };
  size_t i = first;
  for (; far && i + ahead < last; i++) {
    __builtin_prefetch(in + permutation[i + ahead]);
    out[i] = in[permutation[i]];
  }
  for (; i < last; i++) out[i] = in[permutation[i]];
}

void esp_permute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                     int threads) {
  assert(threads > 0);
  const int far = n > (size_t)1 << 20;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    permute_range(in, permutation, far, esp_part(n, part, threads), esp_part(n, part + 1, threads), out);
  }
}
