#include "spmm.h"

// The product over the words of CKernels/Runtime/vector, one of which is included before.
//
// Every random read of an input row comes from L2 at best, so that its bandwidth is the limit. What is left to save is
// the rest: one index and one weight serve `blocks` blocks, and each output is one chain of multiply-adds in column
// order, without partial sums to combine. Blocks and `rows` rows side by side make up the chains that hide the latency.

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

enum { esp_spmm_ahead = 24, esp_spmm_far = 1 << 19 };  // connections; floats of an input beyond which it is prefetched

/// Adds connection k to the sums of all blocks.
ESP_VEC void esp_spmm_add(const size_t blocks, const size_t vectors, const int far, const esp_csr *w,
                          const float *values, const float *restrict x, uint64_t k, uint64_t last,
                          esp_vec *restrict sum) {
  const size_t lanes = vectors * esp_vec_floats, stride = w->columns * lanes;
  if (far) {
    const float *next = x + w->column_indices[k + esp_spmm_ahead < last ? k + esp_spmm_ahead : last] * lanes;
    ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
      ESP_UNROLL for (size_t l = 0; l < lanes; l += 16) __builtin_prefetch(next + b * stride + l);
    }
  }
  const esp_vec weight = esp_vec_set(values[k]);
  const float *input = x + w->column_indices[k] * lanes;
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const esp_vec in = esp_vec_load(input + b * stride + v * esp_vec_floats);
      sum[b * vectors + v] = esp_vec_fma(weight, in, sum[b * vectors + v]);
    }
  }
}

/// `rows` rows from o on in `blocks` blocks: side by side as far as the shortest goes, then one by one.
ESP_VEC void esp_spmm_tile(const size_t rows, const size_t blocks, const size_t vectors, const int far,
                           const esp_csr *w, const float *values, const float *bias, const float *restrict x,
                           float *restrict y, size_t o, uint64_t last) {
  const size_t lanes = vectors * esp_vec_floats;
  const uint64_t *starts = w->row_starts + o;
  esp_vec sum[4][16];
  uint64_t shared = starts[1] - starts[0];
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    const uint64_t count = starts[r + 1] - starts[r];
    if (count < shared) shared = count;
    const esp_vec offset = esp_vec_set(bias ? bias[o + r] : 0);
    ESP_UNROLL for (size_t i = 0; i < blocks * vectors; i++) sum[r][i] = offset;
  }
  for (uint64_t i = 0; i < shared; i++) {
    ESP_UNROLL for (size_t r = 0; r < rows; r++) {
      esp_spmm_add(blocks, vectors, far, w, values, x, starts[r] + i, last, sum[r]);
    }
  }
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    for (uint64_t k = starts[r] + shared; k < starts[r + 1]; k++) {
      esp_spmm_add(blocks, vectors, far, w, values, x, k, last, sum[r]);
    }
    ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
      float *output = y + (b * w->rows + o + r) * lanes;
      ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
        esp_vec_store(output + v * esp_vec_floats, sum[r][b * vectors + v]);
      }
    }
  }
}

/// Rows [first, last) in `blocks` blocks. Eight chains do; four rows at most, as each reads weights of its own.
ESP_VEC void esp_spmm_range(const size_t blocks, const size_t vectors, const int far, const esp_csr *w,
                            const float *values, const float *bias, const float *restrict x, float *restrict y,
                            size_t first, size_t last) {
  const size_t chains = blocks * vectors, rows = chains >= 8 ? 1 : chains >= 2 ? 2 : 4;
  const uint64_t last_connection = w->row_starts[last] - 1;
  size_t o = first;
  for (; o + rows <= last; o += rows) {
    esp_spmm_tile(rows, blocks, vectors, far, w, values, bias, x, y, o, last_connection);
  }
  for (; o < last; o++) esp_spmm_tile(1, blocks, vectors, far, w, values, bias, x, y, o, last_connection);
}

/// All blocks, as many at a time as the registers hold.
ESP_VEC void esp_spmm_blocks(const size_t vectors, const int far, const esp_csr *w, const float *values,
                             const float *bias, size_t blocks, const float *restrict x, float *restrict y, size_t first,
                             size_t last) {
  const size_t lanes = vectors * esp_vec_floats, in = w->columns * lanes, out = w->rows * lanes;
  size_t b = 0;
  if (4 * vectors <= esp_vec_registers / 2) {
    for (; b + 4 <= blocks; b += 4) {
      esp_spmm_range(4, vectors, far, w, values, bias, x + b * in, y + b * out, first, last);
    }
  }
  for (; b + 2 <= blocks; b += 2) {
    esp_spmm_range(2, vectors, far, w, values, bias, x + b * in, y + b * out, first, last);
  }
  for (; b < blocks; b++) esp_spmm_range(1, vectors, far, w, values, bias, x + b * in, y + b * out, first, last);
}

/// Rows for lanes = 1, gathered: partial sums by position in the row.
ESP_TARGET static void esp_spmm_single(const esp_csr *w, const float *values, const float *bias,
                                       const float *restrict x, float *restrict y, size_t first, size_t last) {
  const uint32_t *columns = w->column_indices;
  for (size_t o = first; o < last; o++) {
    esp_vec sums = esp_vec_zero();
    uint64_t k = w->row_starts[o];
    const uint64_t end = w->row_starts[o + 1];
    for (; k + esp_vec_floats <= end; k += esp_vec_floats) {
      sums = esp_vec_fma(esp_vec_load(values + k), esp_vec_gather(x, columns + k), sums);
    }
    float sum = bias ? bias[o] : 0;
    for (; k < end; k++) sum = __builtin_fmaf(values[k], x[columns[k]], sum);
    y[o] = sum + esp_vec_sum(sums);
  }
}

/// All blocks of lanes = vectors * esp_vec_floats.
ESP_VEC void esp_spmm_vectors(const size_t vectors, const esp_csr *w, const float *values, const float *bias,
                              size_t blocks, const float *restrict x, float *restrict y, size_t first, size_t last) {
  if (first == last) return;
  if (w->columns * vectors * esp_vec_floats > esp_spmm_far) {
    esp_spmm_blocks(vectors, 1, w, values, bias, blocks, x, y, first, last);
  } else {
    esp_spmm_blocks(vectors, 0, w, values, bias, blocks, x, y, first, last);
  }
}

/// All blocks of lanes = 1.
ESP_VEC void esp_spmm_singles(const esp_csr *w, const float *values, const float *bias, size_t blocks,
                              const float *restrict x, float *restrict y, size_t first, size_t last) {
  for (size_t b = 0; b < blocks; b++) {
    esp_spmm_single(w, values, bias, x + b * w->columns, y + b * w->rows, first, last);
  }
}
