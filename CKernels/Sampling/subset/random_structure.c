#include <assert.h>

#include "subset.h"

void esp_emit_keys(const uint64_t *keys, size_t rows, size_t columns, size_t count, uint64_t *restrict row_starts,
                   uint32_t *restrict column_indices) {
  size_t k = 0;
  row_starts[0] = 0;
  for (size_t o = 0; o < rows; o++) {
    const uint64_t first = (uint64_t)o * columns;
    for (; k < count && keys[k] - first < columns; k++) column_indices[k] = (uint32_t)(keys[k] - first);
    row_starts[o + 1] = k;
  }
}

/// The structure of all connections but the ascending keys.
static void emit_complement(const uint64_t *keys, size_t rows, size_t columns, size_t key_count,
                            uint64_t *restrict row_starts, uint32_t *restrict column_indices) {
  size_t k = 0;
  uint64_t n = 0;
  row_starts[0] = 0;
  for (size_t o = 0; o < rows; o++) {
    const uint64_t first = (uint64_t)o * columns;
    for (size_t i = 0; i < columns; i++) {
      if (k < key_count && keys[k] == first + i)
        k++;
      else
        column_indices[n++] = (uint32_t)i;
    }
    row_starts[o + 1] = n;
  }
}

void esp_random_structure(esp_random_key key, size_t rows, size_t columns, size_t count, uint64_t *restrict keys,
                          uint64_t *restrict workspace, uint64_t *restrict row_starts,
                          uint32_t *restrict column_indices) {
  const uint64_t total = (uint64_t)rows * columns;
  assert(rows > 0 && columns < (uint64_t)1 << 32 && count <= total);
  const int complement = count > total / 2;
  const size_t drawn = complement ? total - count : count;
  esp_draw_distinct(key, total, drawn, keys, workspace);
  if (complement)
    emit_complement(keys, rows, columns, drawn, row_starts, column_indices);
  else
    esp_emit_keys(keys, rows, columns, drawn, row_starts, column_indices);
}
