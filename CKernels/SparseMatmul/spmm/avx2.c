#include "spmm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ESP_AVX2 __attribute__((target("avx2,fma")))
#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Rows for lanes = 8 * vectors. Connection i of a row goes to accumulator set i mod (8 / vectors), so that eight
/// chains of multiply-adds hide each other's latency; the sets are added pairwise at the end.
ESP_AVX2 static inline __attribute__((always_inline)) void rows_of_vectors(const size_t vectors, const esp_csr *w,
                                                                           const float *values, const float *bias,
                                                                           const float *restrict x, float *restrict y,
                                                                           size_t first, size_t last) {
  const size_t lanes = 8 * vectors, sets = 8 / vectors;
  const uint32_t *columns = w->column_indices;
  for (size_t o = first; o < last; o++) {
    __m256 sum[8];
    ESP_UNROLL for (size_t i = 0; i < 8; i++) sum[i] = _mm256_setzero_ps();
    uint64_t k = w->row_starts[o];
    const uint64_t end = w->row_starts[o + 1];
    for (; k + sets <= end; k += sets) {
      ESP_UNROLL for (size_t s = 0; s < sets; s++) {
        const __m256 weight = _mm256_broadcast_ss(values + k + s);
        const float *input = x + columns[k + s] * lanes;
        ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
          sum[s * vectors + v] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(input + 8 * v), sum[s * vectors + v]);
        }
      }
    }
    ESP_UNROLL for (size_t s = 0; s + 1 < sets; s++) {
      if (k + s >= end) break;
      const __m256 weight = _mm256_broadcast_ss(values + k + s);
      const float *input = x + columns[k + s] * lanes;
      ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
        sum[s * vectors + v] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(input + 8 * v), sum[s * vectors + v]);
      }
    }
    ESP_UNROLL for (size_t width = 4; width >= vectors; width /= 2) {
      ESP_UNROLL for (size_t i = 0; i < width; i++) sum[i] = _mm256_add_ps(sum[i], sum[i + width]);
    }
    const __m256 offset = _mm256_set1_ps(bias ? bias[o] : 0);
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      _mm256_storeu_ps(y + o * lanes + 8 * v, _mm256_add_ps(sum[v], offset));
    }
  }
}

/// Rows for lanes = 1: four partial sums by position in the row.
ESP_AVX2 static void rows_of_scalars(const esp_csr *w, const float *values, const float *bias, const float *restrict x,
                                     float *restrict y, size_t first, size_t last) {
  const uint32_t *columns = w->column_indices;
  for (size_t o = first; o < last; o++) {
    float sum[4] = {0};
    uint64_t k = w->row_starts[o];
    const uint64_t end = w->row_starts[o + 1];
    for (; k + 4 <= end; k += 4) {
      ESP_UNROLL for (size_t s = 0; s < 4; s++) sum[s] = __builtin_fmaf(values[k + s], x[columns[k + s]], sum[s]);
    }
    for (; k < end; k++) sum[0] = __builtin_fmaf(values[k], x[columns[k]], sum[0]);
    y[o] = (sum[0] + sum[2]) + (sum[1] + sum[3]) + (bias ? bias[o] : 0);
  }
}

ESP_AVX2 void esp_spmm_rows_avx2(const esp_csr *w, const float *values, const float *bias, size_t lanes,
                                 const float *restrict x, float *restrict y, size_t first, size_t last) {
  switch (lanes) {
    case 32:
      rows_of_vectors(4, w, values, bias, x, y, first, last);
      break;
    case 16:
      rows_of_vectors(2, w, values, bias, x, y, first, last);
      break;
    case 8:
      rows_of_vectors(1, w, values, bias, x, y, first, last);
      break;
    default:
      rows_of_scalars(w, values, bias, x, y, first, last);
  }
}
#endif
