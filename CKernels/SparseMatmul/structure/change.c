#include "../include/esp_sparse_matmul.h"

/// What a change writes, and how far it has come.
typedef struct change {
  uint64_t count;
  uint32_t *column_indices, *remap, *grown_positions;
} change;

static void keep(change *to, uint32_t column, uint64_t position) {
  to->column_indices[to->count] = column;
  to->remap[to->count++] = (uint32_t)position;
}

static void grow(change *to, uint32_t column, uint64_t grown_index) {
  if (to->grown_positions) to->grown_positions[grown_index] = (uint32_t)to->count;
  to->column_indices[to->count] = column;
  to->remap[to->count++] = ESP_REMAP_GROWN;
}

int esp_csr_apply_change(const esp_csr *w, const uint32_t *pruned, size_t pruned_count, const esp_csr *grown,
                         uint64_t *restrict row_starts, uint32_t *restrict column_indices, uint32_t *restrict remap,
                         uint32_t *restrict grown_positions) {
  change to = {0, column_indices, remap, grown_positions};
  size_t p = 0;
  uint64_t k = 0, g = 0;
  row_starts[0] = 0;
  for (size_t o = 0; o < w->rows; o++) {
    const uint64_t end = w->row_starts[o + 1], grown_end = grown->row_starts[o + 1];
    for (; k < end; k++) {
      if (p < pruned_count && pruned[p] == k) {
        p++;
        continue;
      }
      const uint32_t column = w->column_indices[k];
      for (; g < grown_end && grown->column_indices[g] < column; g++) grow(&to, grown->column_indices[g], g);
      if (g < grown_end && grown->column_indices[g] == column) return 1;
      keep(&to, column, k);
    }
    for (; g < grown_end; g++) grow(&to, grown->column_indices[g], g);
    row_starts[o + 1] = to.count;
  }
  return 0;
}
