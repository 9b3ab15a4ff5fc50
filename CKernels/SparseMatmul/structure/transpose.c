#include <assert.h>
#include <string.h>

#include "../include/esp_sparse_matmul.h"

/// What a connection's place in the transposed structure is looked up for early: by then a large layer's has come from
/// memory.
enum { AHEAD = 32 };

/// A counting sort by channel; `taps` is a constant where it is common, since it divides. Reading each row backwards
/// makes the flipped taps of one (row, channel) ascend.
__attribute__((always_inline)) static inline void transpose(const esp_csr *w, const uint32_t taps,
                                                            uint64_t *restrict row_starts_t,
                                                            uint32_t *restrict column_indices_t,
                                                            uint32_t *restrict permutation) {
  const size_t channels = w->columns / taps;
  const uint64_t nnz = w->row_starts[w->rows];
  memset(row_starts_t, 0, (channels + 1) * sizeof *row_starts_t);
  for (uint64_t k = 0; k < nnz; k++) {
    if (k + AHEAD < nnz) __builtin_prefetch(row_starts_t + w->column_indices[k + AHEAD] / taps + 1, 1);
    row_starts_t[w->column_indices[k] / taps + 1]++;
  }
  for (size_t c = 0; c < channels; c++) row_starts_t[c + 1] += row_starts_t[c];
  // row_starts_t[c] serves as channel c's cursor, and so ends as the start of channel c + 1.
  for (size_t o = 0; o < w->rows; o++) {
    for (uint64_t k = w->row_starts[o + 1]; k-- > w->row_starts[o];) {
      // In a short row what comes later lies behind, in a long one before.
      const uint64_t later = k >= w->row_starts[o] + AHEAD ? k - AHEAD : k + AHEAD;
      if (later + AHEAD < nnz) {
        const uint64_t place = row_starts_t[w->column_indices[later] / taps];
        __builtin_prefetch(row_starts_t + w->column_indices[later + AHEAD] / taps, 1);
        __builtin_prefetch(column_indices_t + place, 1);
        __builtin_prefetch(permutation + place, 1);
      }
      const uint32_t c = w->column_indices[k] / taps, tap = w->column_indices[k] % taps;
      const uint64_t position = row_starts_t[c]++;
      column_indices_t[position] = (uint32_t)(o * taps + (taps - 1 - tap));
      permutation[position] = (uint32_t)k;
    }
  }
  for (size_t c = channels; c > 0; c--) row_starts_t[c] = row_starts_t[c - 1];
  row_starts_t[0] = 0;
}

void esp_csr_transpose(const esp_csr *w, size_t taps, uint64_t *restrict row_starts_t,
                       uint32_t *restrict column_indices_t, uint32_t *restrict permutation) {
  assert(taps > 0 && taps <= UINT32_MAX && w->columns % taps == 0);
  switch (taps) {
    case 1:
      transpose(w, 1, row_starts_t, column_indices_t, permutation);
      break;
    case 9:
      transpose(w, 9, row_starts_t, column_indices_t, permutation);
      break;
    default:
      transpose(w, (uint32_t)taps, row_starts_t, column_indices_t, permutation);
  }
}
