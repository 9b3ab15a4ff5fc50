#include "sddmm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "../reduce_avx2.h"

#define ESP_AVX2 __attribute__((target("avx2,fma")))
#define ESP_INLINE ESP_AVX2 static inline __attribute__((always_inline))
#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Lane products of one connection, summed over the vectors.
ESP_INLINE __m256 products(const size_t vectors, const __m256 delta[4], const float *input) {
  __m256 sum = _mm256_mul_ps(delta[0], _mm256_loadu_ps(input));
  ESP_UNROLL for (size_t v = 1; v < vectors; v++) {
    sum = _mm256_fmadd_ps(delta[v], _mm256_loadu_ps(input + 8 * v), sum);
  }
  return sum;
}

ESP_INLINE void store(float *g, __m256 sum, int accumulate) {
  _mm256_storeu_ps(g, accumulate ? _mm256_add_ps(_mm256_loadu_ps(g), sum) : sum);
}

/// Connections for lanes = 8 * vectors, eight at a time. A group of eight may cross rows and may be cut short by
/// `last`: neither changes how any one connection's products are added.
ESP_INLINE void connections_of_vectors(const size_t vectors, const esp_csr *pattern, const float *restrict x,
                                       const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                       uint64_t last) {
  const size_t lanes = 8 * vectors;
  const uint32_t *columns = pattern->column_indices;
  size_t row = esp_csr_row_of(pattern, first);
  uint64_t row_end = pattern->row_starts[row + 1];
  __m256 delta[4];
  ESP_UNROLL for (size_t v = 0; v < vectors; v++) delta[v] = _mm256_loadu_ps(d + row * lanes + 8 * v);
  uint64_t k = first;
  while (k < last) {
    __m256 group[8];
    if (k + 8 <= row_end && k + 8 <= last) {
      ESP_UNROLL for (size_t i = 0; i < 8; i++) group[i] = products(vectors, delta, x + columns[k + i] * lanes);
      store(g + k, esp_reduce_eight(group), accumulate);
      k += 8;
      continue;
    }
    const size_t count = last - k < 8 ? last - k : 8;
    for (size_t i = 0; i < 8; i++) group[i] = _mm256_setzero_ps();
    for (size_t i = 0; i < count; i++, k++) {
      if (k >= row_end) {
        while (k >= row_end) row_end = pattern->row_starts[++row + 1];
        ESP_UNROLL for (size_t v = 0; v < vectors; v++) delta[v] = _mm256_loadu_ps(d + row * lanes + 8 * v);
      }
      group[i] = products(vectors, delta, x + columns[k] * lanes);
    }
    const __m256 sum = esp_reduce_eight(group);
    if (count == 8) {
      store(g + k - 8, sum, accumulate);
    } else {
      float tail[8];
      _mm256_storeu_ps(tail, sum);
      for (size_t i = 0; i < count; i++) g[k - count + i] = accumulate ? g[k - count + i] + tail[i] : tail[i];
    }
  }
}

ESP_AVX2 void esp_sddmm_connections_avx2(const esp_csr *pattern, size_t lanes, const float *restrict x,
                                         const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                         uint64_t last) {
  if (first == last) return;
  switch (lanes) {
    case 32:
      connections_of_vectors(4, pattern, x, d, accumulate, g, first, last);
      break;
    case 16:
      connections_of_vectors(2, pattern, x, d, accumulate, g, first, last);
      break;
    case 8:
      connections_of_vectors(1, pattern, x, d, accumulate, g, first, last);
      break;
    default:
      esp_sddmm_connections_scalar(pattern, lanes, x, d, accumulate, g, first, last);
  }
}
#endif
