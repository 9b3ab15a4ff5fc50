#include "../lane_sums.h"
#include "linear_backward.h"

// Both gradients of a linear layer in one pass over its transposed structure, over the words of
// CKernels/Runtime/vector, one of which is included before.
//
// A row of the transposed structure is an input of the layer: what reaches it is summed in registers, and its own
// activations lie in others. So the gradient of each output that it is connected to, read at random, is read once for
// both products, and that is what a product waits for. Each element of dx is one chain of multiply-adds, the same as
// spmm's.

enum { esp_linear_backward_ahead = 12 };  // connections that gradients of outputs are asked for ahead

/// One row's connections k ..< k + count: adds to `dx`, and gives lane sums. Asks for gradients ahead where `asks`.
ESP_VEC void esp_linear_backward_connections(const size_t blocks, const size_t vectors, const int asks,
                                             const esp_linear_backward_task task, uint64_t k, size_t count,
                                             const esp_vec *x, esp_vec *dx, esp_vec *restrict sums) {
  const size_t lanes = vectors * esp_vec_floats, outputs = task.w.columns * lanes;
  const uint32_t *columns = task.w.column_indices + k;
  const float *values = task.values + k;
  _Pragma("clang loop unroll(disable)") for (size_t i = 0; i < count; i++) {
    const float *delta = task.d + columns[i] * lanes;
    const esp_vec weight = esp_vec_set(values[i]);
    esp_vec sum;
    ESP_UNROLL for (size_t b = 0; b < blocks; b++) {
      if (asks) {
        const float *next = task.d + b * outputs + columns[i + esp_linear_backward_ahead] * lanes;
        ESP_UNROLL for (size_t l = 0; l < lanes; l += 16) esp_vec_prefetch(next + l);
      }
      ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
        const size_t j = b * vectors + v;
        const esp_vec in = esp_vec_load(delta + b * outputs + v * esp_vec_floats);
        dx[j] = esp_vec_fma(weight, in, dx[j]);
        sum = j == 0 ? esp_vec_mul(x[0], in) : esp_vec_fma(x[j], in, sum);
      }
    }
    sums[i] = sum;
  }
}

/// One row. `sums`, of which `waiting` are filled, take its lane sums, and go to the gradient when they are full.
/// Returns how many are waiting then.
ESP_VEC size_t esp_linear_backward_row(const size_t blocks, const size_t vectors, const esp_linear_backward_task task,
                                       size_t row, esp_vec *sums, size_t waiting) {
  const size_t lanes = vectors * esp_vec_floats, inputs = task.w.rows * lanes;
  const uint64_t end = task.w.row_starts[row + 1], all = task.w.row_starts[task.w.rows];
  esp_vec x[8], dx[8];
  ESP_UNROLL for (size_t j = 0; j < blocks * vectors; j++) {
    const size_t at = j / vectors * inputs + row * lanes + j % vectors * esp_vec_floats;
    x[j] = esp_vec_load(task.x + at);
    dx[j] = task.base ? esp_vec_load(task.base + at) : esp_vec_zero();
  }
  for (uint64_t k = task.w.row_starts[row]; k < end;) {
    const size_t room = esp_lane_sums_chunk - waiting, count = end - k < room ? end - k : room;
    if (k + count + esp_linear_backward_ahead <= all) {
      esp_linear_backward_connections(blocks, vectors, 1, task, k, count, x, dx, sums + waiting);
    } else {
      esp_linear_backward_connections(blocks, vectors, 0, task, k, count, x, dx, sums + waiting);
    }
    k += count;
    waiting += count;
    if (waiting < esp_lane_sums_chunk) break;
    esp_lane_sums_reduce(sums, waiting, task.accumulate, task.g + k - waiting);
    waiting = 0;
  }
  ESP_UNROLL for (size_t j = 0; j < blocks * vectors; j++) {
    esp_vec_store(task.dx + j / vectors * inputs + row * lanes + j % vectors * esp_vec_floats, dx[j]);
  }
  return waiting;
}

/// Rows [first, last) of `blocks` blocks.
ESP_VEC void esp_linear_backward_range(const size_t blocks, const size_t vectors, const esp_linear_backward_task task,
                                       size_t first, size_t last) {
  esp_vec sums[esp_lane_sums_chunk];
  size_t waiting = 0;
  for (size_t row = first; row < last; row++) {
    waiting = esp_linear_backward_row(blocks, vectors, task, row, sums, waiting);
  }
  if (waiting > 0) esp_lane_sums_reduce(sums, waiting, task.accumulate, task.g + task.w.row_starts[last] - waiting);
}

/// Rows [first, last) of all blocks of lanes = vectors * esp_vec_floats: two at a time, so that one horizontal sum
/// serves them, where the registers hold what both add up.
ESP_VEC void esp_linear_backward_vectors(const size_t vectors, esp_linear_backward_task task, size_t first,
                                         size_t last) {
  const size_t lanes = vectors * esp_vec_floats, inputs = task.w.rows * lanes;
  const int pairs = 3 * 2 * vectors + 2 <= esp_vec_registers;
  while (task.blocks > 0) {
    const size_t taken = pairs && task.blocks > 1 ? 2 : 1;
    if (taken == 2) {
      esp_linear_backward_range(2, vectors, task, first, last);
    } else {
      esp_linear_backward_range(1, vectors, task, first, last);
    }
    task.blocks -= taken;
    task.x += taken * inputs;
    task.dx += taken * inputs;
    task.base = task.base ? task.base + taken * inputs : NULL;
    task.d += taken * task.w.columns * lanes;
    task.accumulate = 1;
  }
}

/// Rows [first, last) of all blocks of lanes = 1, gathered: partial sums by position in the row, as spmm's.
ESP_VEC void esp_linear_backward_singles(esp_linear_backward_task task, size_t first, size_t last) {
  const uint32_t *columns = task.w.column_indices;
  for (size_t b = 0; b < task.blocks; b++, task.accumulate = 1) {
    const float *x = task.x + b * task.w.rows, *d = task.d + b * task.w.columns;
    for (size_t row = first; row < last; row++) {
      const esp_vec input = esp_vec_set(x[row]);
      esp_vec sums = esp_vec_zero();
      uint64_t k = task.w.row_starts[row];
      const uint64_t end = task.w.row_starts[row + 1];
      for (; k + esp_vec_floats <= end; k += esp_vec_floats) {
        const esp_vec delta = esp_vec_gather(d, columns + k);
        sums = esp_vec_fma(esp_vec_load(task.values + k), delta, sums);
        const esp_vec before = task.accumulate ? esp_vec_load(task.g + k) : esp_vec_zero();
        esp_vec_store(task.g + k, esp_vec_fma(input, delta, before));
      }
      float sum = task.base ? task.base[b * task.w.rows + row] : 0;
      for (; k < end; k++) {
        sum = __builtin_fmaf(task.values[k], d[columns[k]], sum);
        task.g[k] = __builtin_fmaf(x[row], d[columns[k]], task.accumulate ? task.g[k] : 0);
      }
      task.dx[b * task.w.rows + row] = sum + esp_vec_sum(sums);
    }
  }
}
