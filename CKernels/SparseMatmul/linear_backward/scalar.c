#include "linear_backward.h"

void esp_linear_backward_rows_scalar(const esp_linear_backward_task *task, size_t first, size_t last) {
  const esp_csr *w = &task->w;
  const size_t lanes = task->lanes;
  for (size_t block = 0; block < task->blocks; block++) {
    const float *d = task->d + block * w->columns * lanes;
    const int accumulate = task->accumulate || block > 0;
    for (size_t row = first; row < last; row++) {
      const size_t at = (block * w->rows + row) * lanes;
      float sums[32] = {0};
      for (size_t l = 0; task->base && l < lanes; l++) sums[l] = task->base[at + l];
      for (uint64_t k = w->row_starts[row]; k < w->row_starts[row + 1]; k++) {
        const float weight = task->values[k];
        const float *delta = d + w->column_indices[k] * lanes;
        float gradient = 0;
        for (size_t l = 0; l < lanes; l++) {
          sums[l] += weight * delta[l];
          gradient += task->x[at + l] * delta[l];
        }
        task->g[k] = accumulate ? task->g[k] + gradient : gradient;
      }
      for (size_t l = 0; l < lanes; l++) task->dx[at + l] = sums[l];
    }
  }
}
