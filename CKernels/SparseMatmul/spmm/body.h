#include "spmm.h"

// The product of one block, or of two side by side, over the words of CKernels/Runtime/vector, one of which is included
// before.
//
// Every random read of an input row comes from L2 at best, so that its bandwidth is the limit: a block is taken alone,
// which keeps what is read at random small, but for layers whose weights come from far away. Each output is one chain
// of multiply-adds, bias first, then the connections in column order: neighbours change no bit of it, and there are no
// partial sums to combine. The vectors of 32 lanes, or rows side by side, make up the chains that hide the latency.
//
// What a row needs is passed by value: no store to y can change it, so that it stays in registers. Rows are short, and
// their ends not foreseen: every load before a row's first connection is waited for.

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Adds connection k to a row's sums of all blocks.
ESP_VEC void esp_spmm_add(const size_t blocks, const size_t vectors, const esp_spmm_task task, const esp_csr w,
                          uint64_t k, esp_vec *sum) {
  const size_t lanes = vectors * esp_vec_floats;
  const esp_vec weight = esp_vec_set(task.values[k]);
  const float *input = task.x + w.column_indices[k] * lanes;
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const esp_vec in = esp_vec_load(input + b * (w.columns * lanes) + v * esp_vec_floats);
      sum[b * vectors + v] = esp_vec_fma(weight, in, sum[b * vectors + v]);
    }
  }
}

/// Sets a row's sums to its bias, plus what it is added to.
ESP_VEC void esp_spmm_start(const size_t blocks, const size_t vectors, const esp_spmm_task task, const esp_csr w,
                            size_t row, esp_vec *sum) {
  const size_t lanes = vectors * esp_vec_floats;
  const esp_vec bias = esp_vec_set(task.bias ? task.bias[row] : 0);
  ESP_UNROLL for (size_t i = 0; i < blocks * vectors; i++) sum[i] = bias;
  if (!task.base) return;
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    const float *base = task.base + (b * w.rows + row) * lanes;
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      sum[b * vectors + v] = esp_vec_add(bias, esp_vec_load(base + v * esp_vec_floats));
    }
  }
}

ESP_VEC void esp_spmm_store(const size_t blocks, const size_t vectors, const esp_spmm_task task, const esp_csr w,
                            size_t row, const esp_vec *sum) {
  ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
    float *y = task.y + (b * w.rows + row) * (vectors * esp_vec_floats);
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      if (task.streams) {
        esp_vec_stream(y + v * esp_vec_floats, sum[b * vectors + v]);
      } else {
        esp_vec_store(y + v * esp_vec_floats, sum[b * vectors + v]);
      }
    }
  }
}

/// `rows` whole rows from o on: side by side as far as the shortest goes, then one by one.
ESP_VEC void esp_spmm_group(const size_t rows, const size_t blocks, const size_t vectors, const esp_spmm_task task,
                            const esp_csr w, size_t o) {
  const uint64_t *starts = w.row_starts + o;
  esp_vec sum[4][16];
  uint64_t shared = rows == 1 ? 0 : starts[1] - starts[0];
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    const uint64_t count = starts[r + 1] - starts[r];
    if (count < shared) shared = count;
    esp_spmm_start(blocks, vectors, task, w, o + r, sum[r]);
  }
  for (uint64_t i = 0; i < shared; i++) {
    ESP_UNROLL for (size_t r = 0; r < rows; r++) esp_spmm_add(blocks, vectors, task, w, starts[r] + i, sum[r]);
  }
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    // Unrolled, it is slower: short rows end in the leftovers.
    _Pragma("clang loop unroll(disable)") for (uint64_t k = starts[r] + shared; k < starts[r + 1]; k++) {
      esp_spmm_add(blocks, vectors, task, w, k, sum[r]);
    }
    esp_spmm_store(blocks, vectors, task, w, o + r, sum[r]);
  }
}

/// Rows [first, last), as many side by side as make up 32 lanes.
ESP_VEC void esp_spmm_range(const size_t blocks, const size_t vectors, const esp_spmm_task task, size_t first,
                            size_t last) {
  const size_t rows = 32 / (vectors * esp_vec_floats);
  const esp_csr w = *task.w;
  size_t o = first;
  for (; o + rows <= last; o += rows) esp_spmm_group(rows, blocks, vectors, task, w, o);
  for (; o < last; o++) esp_spmm_group(1, blocks, vectors, task, w, o);
}

enum { esp_spmm_segments_ahead = 4 };  // segments whose connections are asked for ahead

/// Asks for the connections of a segment, and for those that lie `band` connections behind it, where the next band has
/// about the same: they lie in short pieces, which no processor foresees.
ESP_VEC void esp_spmm_ask(const esp_csr w, const float *values, esp_csr_segment segment, uint64_t band) {
  const uint64_t all = w.row_starts[w.rows];
  for (uint64_t k = segment.first; k < (uint64_t)segment.first + segment.count; k += 16) {
    __builtin_prefetch(w.column_indices + k, 0, 3);
    __builtin_prefetch(values + k, 0, 3);
    if (k + band >= all) continue;
    __builtin_prefetch(w.column_indices + k + band, 0, 2);
    __builtin_prefetch(values + k + band, 0, 2);
  }
}

/// Adds a segment's connections to its row, which starts with the first tile.
ESP_VEC void esp_spmm_segment(const size_t vectors, const esp_spmm_task task, const esp_csr w, esp_csr_segment segment,
                              size_t row, int starts) {
  esp_vec sum[8];
  if (starts) {
    esp_spmm_start(1, vectors, task, w, row, sum);
  } else {
    const float *y = task.y + row * (vectors * esp_vec_floats);
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) sum[v] = esp_vec_load(y + v * esp_vec_floats);
  }
  const uint64_t end = (uint64_t)segment.first + segment.count;
  _Pragma("clang loop unroll(disable)") for (uint64_t k = segment.first; k < end; k++) {
    esp_spmm_add(1, vectors, task, w, k, sum);
  }
  esp_spmm_store(1, vectors, task, w, row, sum);
}

/// Rows [first, last), whole bands of them, of one block, tile by tile: a row's sums wait in y, and are added up in the
/// same order as in a row taken whole.
ESP_VEC void esp_spmm_tiles(const size_t vectors, const esp_spmm_task task, size_t first, size_t last) {
  const esp_csr w = *task.w;
  const size_t across = (w.columns + w.tiles.columns - 1) / w.tiles.columns;
  for (size_t o = first; o < last; o += w.tiles.rows) {
    const size_t rows = last - o < w.tiles.rows ? last - o : w.tiles.rows;
    const uint64_t band = w.row_starts[o + rows] - w.row_starts[o];
    const esp_csr_segment *segments = w.tiles.segments + o * across;
    for (size_t s = 0; s < across * rows; s++) {
      const size_t ahead = s + esp_spmm_segments_ahead;
      if (ahead < across * rows) esp_spmm_ask(w, task.values, segments[ahead], band);
      esp_spmm_segment(vectors, task, w, segments[s], o + segments[s].row, s < rows);
    }
  }
}

/// Rows [first, last) of one or two blocks of lanes = vectors * esp_vec_floats.
ESP_VEC void esp_spmm_vectors(const size_t vectors, const esp_spmm_task task, size_t first, size_t last) {
  if (task.tiled) {
    esp_spmm_tiles(vectors, task, first, last);
  } else if (task.blocks == 2) {
    esp_spmm_range(2, vectors, task, first, last);
  } else {
    esp_spmm_range(1, vectors, task, first, last);
  }
  if (task.streams) esp_vec_fence();
}

/// Rows [first, last) of one block of lanes = 1, gathered: partial sums by position in the row.
ESP_VEC void esp_spmm_singles(const esp_spmm_task task, size_t first, size_t last) {
  const esp_csr w = *task.w;
  for (size_t o = first; o < last; o++) {
    esp_vec sums = esp_vec_zero();
    uint64_t k = w.row_starts[o];
    const uint64_t end = w.row_starts[o + 1];
    for (; k + esp_vec_floats <= end; k += esp_vec_floats) {
      sums = esp_vec_fma(esp_vec_load(task.values + k), esp_vec_gather(task.x, w.column_indices + k), sums);
    }
    float sum = (task.bias ? task.bias[o] : 0) + (task.base ? task.base[o] : 0);
    for (; k < end; k++) sum = __builtin_fmaf(task.values[k], task.x[w.column_indices[k]], sum);
    task.y[o] = sum + esp_vec_sum(sums);
  }
}
