#ifndef ESP_REDUCE_AVX2_H
#define ESP_REDUCE_AVX2_H

#include <immintrin.h>

/// Element i of the result is the sum of v[i]'s elements, ((v0 + v2) + (v1 + v3)) + ((v4 + v6) + (v5 + v7)) for every
/// i: a sum does not depend on the slot it is taken in.
__attribute__((target("avx2,fma"), always_inline)) static inline __m256 esp_reduce_eight(const __m256 v[8]) {
  __m256 pairs[4];
  for (int i = 0; i < 4; i++) {
    const __m256 a = v[2 * i], b = v[2 * i + 1];
    pairs[i] = _mm256_add_ps(_mm256_blend_ps(a, b, 0xCC), _mm256_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 3, 2)));
  }
  __m256 halves[2];
  for (int i = 0; i < 2; i++) {
    const __m256 a = pairs[2 * i], b = pairs[2 * i + 1];
    halves[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)),
                              _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
  }
  return _mm256_add_ps(_mm256_blend_ps(halves[0], halves[1], 0xF0), _mm256_permute2f128_ps(halves[0], halves[1], 0x21));
}

#endif
