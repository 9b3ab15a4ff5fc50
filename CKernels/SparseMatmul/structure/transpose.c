#include <assert.h>
#include <string.h>

#include "../include/esp_sparse_matmul.h"

/// A counting sort by channel. Reading each row backwards makes the flipped taps of one (row, channel) ascend.
void esp_csr_transpose(const esp_csr *w, size_t taps, uint64_t *restrict row_starts_t,
                       uint32_t *restrict column_indices_t, uint32_t *restrict permutation) {
  assert(taps > 0 && w->columns % taps == 0);
  const size_t channels = w->columns / taps;
  const uint64_t nnz = w->row_starts[w->rows];
  memset(row_starts_t, 0, (channels + 1) * sizeof *row_starts_t);
  for (uint64_t k = 0; k < nnz; k++) row_starts_t[w->column_indices[k] / taps + 1]++;
  for (size_t c = 0; c < channels; c++) row_starts_t[c + 1] += row_starts_t[c];
  // row_starts_t[c] serves as channel c's cursor, and so ends as the start of channel c + 1.
  for (size_t o = 0; o < w->rows; o++) {
    for (uint64_t k = w->row_starts[o + 1]; k-- > w->row_starts[o];) {
      const size_t c = w->column_indices[k] / taps, tap = w->column_indices[k] % taps;
      const uint64_t position = row_starts_t[c]++;
      column_indices_t[position] = (uint32_t)(o * taps + (taps - 1 - tap));
      permutation[position] = (uint32_t)k;
    }
  }
  for (size_t c = channels; c > 0; c--) row_starts_t[c] = row_starts_t[c - 1];
  row_starts_t[0] = 0;
}
