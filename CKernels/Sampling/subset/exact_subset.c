#include <assert.h>
#include <string.h>

#include "alias/alias.h"
#include "subset.h"

/// Whether (row, column) is a connection of w. O(log degree).
static int is_active(const esp_csr *w, size_t row, uint32_t column) {
  uint64_t low = w->row_starts[row], high = w->row_starts[row + 1];
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (w->column_indices[middle] < column)
      low = middle + 1;
    else
      high = middle;
  }
  return low < w->row_starts[row + 1] && w->column_indices[low] == column;
}

// Each round draws exactly as many pairs as are missing, as in esp_draw_distinct: none has to be thrown away.
size_t esp_exact_subset(esp_random_key key, const esp_csr *active, const esp_alias *outputs, const esp_alias *inputs,
                        size_t count, uint64_t *restrict keys, uint64_t *restrict workspace,
                        uint64_t *restrict row_starts, uint32_t *restrict column_indices) {
  const size_t rows = active->rows, columns = active->columns;
  assert(count <= (uint64_t)rows * columns - active->row_starts[rows]);
  const esp_random_key column_key = column_stream(key);
  uint64_t drawn = 0;
  size_t have = 0;
  for (int round = 0; round < 64 && have < count; round++) {
    size_t fresh = have;
    for (size_t missing = count - have; missing > 0; missing--, drawn++) {
      const size_t row = alias_draw(outputs, rows, key, drawn), column = alias_draw(inputs, columns, column_key, drawn);
      if (!is_active(active, row, (uint32_t)column)) keys[fresh++] = (uint64_t)row * columns + column;
    }
    esp_sort_u64(keys + have, fresh - have, workspace);
    have = esp_merge_unique(keys, have, keys + have, fresh - have, workspace);
    memcpy(keys, workspace, have * sizeof *keys);
  }
  esp_emit_keys(keys, rows, columns, have, row_starts, column_indices);
  return have;
}
