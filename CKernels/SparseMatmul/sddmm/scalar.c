#include "sddmm.h"

void esp_sddmm_connections_scalar(const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                                  const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                  uint64_t last) {
  if (first == last) return;
  size_t row = esp_csr_row_of(pattern, first);
  for (uint64_t k = first; k < last; k++) {
    while (k >= pattern->row_starts[row + 1]) row++;
    float sum = 0;
    for (size_t b = 0; b < blocks; b++) {
      const float *delta = d + (b * pattern->rows + row) * lanes;
      const float *input = x + (b * pattern->columns + pattern->column_indices[k]) * lanes;
      for (size_t l = 0; l < lanes; l++) sum += delta[l] * input[l];
    }
    g[k] = accumulate ? g[k] + sum : sum;
  }
}
