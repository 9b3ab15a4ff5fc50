#include "spmm.h"

// The product over the words of CKernels/Runtime/vector, one of which is included before.
//
// Every random read of an input row comes from L2 at best, so that its bandwidth is the limit. What is left to save is
// the rest: one index and one weight serve `blocks` blocks, and each output is one chain of multiply-adds, bias first,
// then the connections in column order. So neither blocks nor neighbours change a bit of it, and there are no
// partial sums to combine. Blocks, and rows side by side, make up the chains that hide the latency.

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Adds connection k to the sums of all blocks.
ESP_VEC void esp_spmm_add(const size_t blocks, const size_t vectors, const esp_spmm_task *task, const float *x,
                          uint64_t k, esp_vec *sum) {
  const size_t lanes = vectors * esp_vec_floats, stride = task->w->columns * lanes;
  const esp_vec weight = esp_vec_set(task->values[k]);
  const float *input = x + task->w->column_indices[k] * lanes;
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const esp_vec in = esp_vec_load(input + b * stride + v * esp_vec_floats);
      sum[b * vectors + v] = esp_vec_fma(weight, in, sum[b * vectors + v]);
    }
  }
}

/// Sets a row's sums to its bias, plus what it is added to, which is laid out as the sums are stored.
ESP_VEC void esp_spmm_start(const size_t blocks, const size_t vectors, const esp_spmm_task *task, const float *base,
                            size_t row, esp_vec *sum) {
  const size_t lanes = vectors * esp_vec_floats, stride = task->w->rows * lanes;
  const esp_vec bias = esp_vec_set(task->bias ? task->bias[row] : 0);
  ESP_UNROLL for (size_t i = 0; i < blocks * vectors; i++) sum[i] = bias;
  if (!base) return;
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const float *from = base + b * stride + row * lanes + v * esp_vec_floats;
      sum[b * vectors + v] = esp_vec_add(bias, esp_vec_load(from));
    }
  }
}

ESP_VEC void esp_spmm_store(const size_t blocks, const size_t vectors, size_t stride, const esp_vec *sum, int streams,
                            float *y) {
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      float *const to = y + b * stride + v * esp_vec_floats;
      if (streams) {
        esp_vec_stream(to, sum[b * vectors + v]);
      } else {
        esp_vec_store(to, sum[b * vectors + v]);
      }
    }
  }
}

/// `rows` whole rows from o on: side by side as far as the shortest goes, then one by one.
ESP_VEC void esp_spmm_group(const size_t rows, const size_t blocks, const size_t vectors, const esp_spmm_task *task,
                            const float *x, const float *base, float *y, size_t o) {
  const size_t lanes = vectors * esp_vec_floats;
  const uint64_t *starts = task->w->row_starts + o;
  esp_vec sum[4][16];
  uint64_t shared = starts[1] - starts[0];
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    const uint64_t count = starts[r + 1] - starts[r];
    if (count < shared) shared = count;
    esp_spmm_start(blocks, vectors, task, base, o + r, sum[r]);
  }
  for (uint64_t i = 0; i < shared; i++) {
    ESP_UNROLL for (size_t r = 0; r < rows; r++) esp_spmm_add(blocks, vectors, task, x, starts[r] + i, sum[r]);
  }
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    for (uint64_t k = starts[r] + shared; k < starts[r + 1]; k++) {
      esp_spmm_add(blocks, vectors, task, x, k, sum[r]);
    }
    esp_spmm_store(blocks, vectors, task->w->rows * lanes, sum[r], task->streams, y + (o + r) * lanes);
  }
}

/// Rows [first, last) in `blocks` blocks. Eight chains do; four rows at most, as each reads weights of its own.
ESP_VEC void esp_spmm_range(const size_t blocks, const size_t vectors, const esp_spmm_task *task, size_t block,
                            size_t first, size_t last) {
  const size_t chains = blocks * vectors, rows = chains >= 8 ? 1 : chains >= 2 ? 2 : 4;
  const size_t lanes = vectors * esp_vec_floats;
  const float *x = task->x + block * task->w->columns * lanes;
  const float *base = task->base ? task->base + block * task->w->rows * lanes : NULL;
  float *y = task->y + block * task->w->rows * lanes;
  size_t o = first;
  for (; o + rows <= last; o += rows) esp_spmm_group(rows, blocks, vectors, task, x, base, y, o);
  for (; o < last; o++) esp_spmm_group(1, blocks, vectors, task, x, base, y, o);
}

/// All blocks of lanes = vectors * esp_vec_floats, as many at a time as the registers hold.
ESP_VEC void esp_spmm_vectors(const size_t vectors, const esp_spmm_task *task, size_t first, size_t last) {
  size_t block = 0;
  if (4 * vectors <= esp_vec_registers / 2) {
    for (; block + 4 <= task->blocks; block += 4) esp_spmm_range(4, vectors, task, block, first, last);
  }
  for (; block + 2 <= task->blocks; block += 2) esp_spmm_range(2, vectors, task, block, first, last);
  for (; block < task->blocks; block++) esp_spmm_range(1, vectors, task, block, first, last);
  if (task->streams) esp_vec_fence();
}

/// All blocks of lanes = 1, gathered: partial sums by position in the row.
ESP_VEC void esp_spmm_singles(const esp_spmm_task *task, size_t first, size_t last) {
  const esp_csr *w = task->w;
  const uint32_t *columns = w->column_indices;
  for (size_t block = 0; block < task->blocks; block++) {
    const float *x = task->x + block * w->columns;
    for (size_t o = first; o < last; o++) {
      esp_vec sums = esp_vec_zero();
      uint64_t k = w->row_starts[o];
      const uint64_t end = w->row_starts[o + 1];
      for (; k + esp_vec_floats <= end; k += esp_vec_floats) {
        sums = esp_vec_fma(esp_vec_load(task->values + k), esp_vec_gather(x, columns + k), sums);
      }
      float sum = (task->bias ? task->bias[o] : 0) + (task->base ? task->base[block * w->rows + o] : 0);
      for (; k < end; k++) sum = __builtin_fmaf(task->values[k], x[columns[k]], sum);
      task->y[block * w->rows + o] = sum + esp_vec_sum(sums);
    }
  }
}
