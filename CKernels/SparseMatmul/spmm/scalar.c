#include "spmm.h"

void esp_spmm_rows_scalar(const esp_spmm_task *task, size_t first, size_t last) {
  const esp_csr *w = task->w;
  const size_t lanes = task->lanes;
  for (size_t block = 0; block < task->blocks; block++) {
    const float *x = task->x + block * w->columns * lanes;
    const float *base = task->base ? task->base + block * w->rows * lanes : NULL;
    float *y = task->y + block * w->rows * lanes;
    for (size_t o = first; o < last; o++) {
      float sum[32] = {0};
      for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
        const float weight = task->values[k];
        const float *input = x + w->column_indices[k] * lanes;
        for (size_t l = 0; l < lanes; l++) sum[l] += weight * input[l];
      }
      const float bias = task->bias ? task->bias[o] : 0;
      for (size_t l = 0; l < lanes; l++) y[o * lanes + l] = sum[l] + (bias + (base ? base[o * lanes + l] : 0));
    }
  }
}
