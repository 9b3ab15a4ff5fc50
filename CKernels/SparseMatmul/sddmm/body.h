#include "../lane_sums.h"
#include "sddmm.h"

// The sampled product over the words of CKernels/Runtime/vector, one of which is included before.
//
// The pattern is passed by value: no store to g can change it, so that it stays in registers.

enum { esp_sddmm_samples = 64 };  // that one lane sum serves: more would read at random from more blocks than L2 feeds

/// Lane sums of `count` connections from position k on, all of one row, whose gradients are at d.
ESP_VEC void esp_sddmm_lanes(const size_t blocks, const size_t vectors, const esp_csr pattern, const float *restrict x,
                             const float *restrict d, uint64_t k, size_t count, esp_vec *restrict sums) {
  const size_t lanes = vectors * esp_vec_floats, in = pattern.columns * lanes, out = pattern.rows * lanes;
  const uint32_t *columns = pattern.column_indices;
  esp_vec delta[2 * 8];
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) delta[b * vectors + v] =
        esp_vec_load(d + b * out + v * esp_vec_floats);
  }
  for (size_t i = 0; i < count; i++) {
    const float *input = x + columns[k + i] * lanes;
    esp_vec sum = esp_vec_mul(delta[0], esp_vec_load(input));
    ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
      ESP_UNROLL for (size_t v = b == 0; v < vectors; v++) {
        sum = esp_vec_fma(delta[b * vectors + v], esp_vec_load(input + b * in + v * esp_vec_floats), sum);
      }
    }
    sums[i] = sum;
  }
}

/// Connections [first, last) in `blocks` blocks.
ESP_VEC void esp_sddmm_range(const size_t blocks, const size_t vectors, const esp_csr pattern, const float *restrict x,
                             const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                             uint64_t last) {
  const size_t lanes = vectors * esp_vec_floats;
  esp_vec sums[esp_lane_sums_chunk];
  size_t row = esp_csr_row_of(&pattern, first);
  for (uint64_t start = first; start < last; start += esp_lane_sums_chunk) {
    const uint64_t end = last - start < esp_lane_sums_chunk ? last : start + esp_lane_sums_chunk;
    for (uint64_t k = start; k < end;) {
      while (k >= pattern.row_starts[row + 1]) row++;
      const uint64_t row_end = pattern.row_starts[row + 1], stop = row_end < end ? row_end : end;
      esp_sddmm_lanes(blocks, vectors, pattern, x, d + row * lanes, k, stop - k, sums + (k - start));
      k = stop;
    }
    esp_lane_sums_reduce(sums, end - start, accumulate, g + start);
  }
}

/// Connections [first, last) in all blocks of lanes = vectors * esp_vec_floats, as many at a time as make up 64
/// samples.
ESP_VEC void esp_sddmm_vectors(const size_t vectors, const esp_csr pattern, size_t blocks, const float *restrict x,
                               const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                               uint64_t last) {
  const size_t lanes = vectors * esp_vec_floats, in = pattern.columns * lanes, out = pattern.rows * lanes;
  if (first == last) return;
  size_t b = 0;
  if (4 * lanes <= esp_sddmm_samples) {
    for (; b + 4 <= blocks; b += 4) {
      esp_sddmm_range(4, vectors, pattern, x + b * in, d + b * out, accumulate || b > 0, g, first, last);
    }
  }
  for (; b + 2 <= blocks; b += 2) {
    esp_sddmm_range(2, vectors, pattern, x + b * in, d + b * out, accumulate || b > 0, g, first, last);
  }
  for (; b < blocks; b++) {
    esp_sddmm_range(1, vectors, pattern, x + b * in, d + b * out, accumulate || b > 0, g, first, last);
  }
}

/// Connections [first, last) in all blocks of lanes = 1, gathered.
ESP_VEC void esp_sddmm_singles(const esp_csr pattern, size_t blocks, const float *restrict x, const float *restrict d,
                               int accumulate, float *restrict g, uint64_t first, uint64_t last) {
  const uint32_t *columns = pattern.column_indices;
  for (size_t b = 0; first < last && b < blocks; b++, x += pattern.columns, d += pattern.rows, accumulate = 1) {
    size_t row = esp_csr_row_of(&pattern, first);
    for (uint64_t k = first; k < last; row++) {
      const uint64_t row_end = pattern.row_starts[row + 1], end = row_end < last ? row_end : last;
      const esp_vec delta = esp_vec_set(d[row]);
      // Rounded once in the vectors and after them: a connection's bits do not depend on its place in the row.
      for (; k + esp_vec_floats <= end; k += esp_vec_floats) {
        const esp_vec sum = accumulate ? esp_vec_load(g + k) : esp_vec_zero();
        esp_vec_store(g + k, esp_vec_fma(delta, esp_vec_gather(x, columns + k), sum));
      }
      for (; k < end; k++) g[k] = __builtin_fmaf(d[row], x[columns[k]], accumulate ? g[k] : 0);
    }
  }
}
