#include "spmm.h"

void esp_spmm_rows_scalar(const esp_csr *w, const float *values, const float *bias, size_t blocks, size_t lanes,
                          const float *restrict x, float *restrict y, size_t first, size_t last) {
  for (size_t block = 0; block < blocks; block++, x += w->columns * lanes, y += w->rows * lanes) {
    for (size_t o = first; o < last; o++) {
      float sum[32] = {0};
      for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
        const float *input = x + w->column_indices[k] * lanes;
        for (size_t l = 0; l < lanes; l++) sum[l] += values[k] * input[l];
      }
      for (size_t l = 0; l < lanes; l++) y[o * lanes + l] = sum[l] + (bias ? bias[o] : 0);
    }
  }
}
