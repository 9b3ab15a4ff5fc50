#include <assert.h>
#include <string.h>

#include "alias/alias.h"
#include "subset.h"

/// One row's active columns, ascending.
typedef struct active_row {
  const uint32_t *columns;
  size_t degree;
} active_row;

/// Where a row's columns come from.
typedef struct column_source {
  esp_random_key key;
  const esp_alias *inputs;
  size_t columns;
} column_source;

static uint32_t column_of(const column_source *from, size_t row, uint32_t draw) {
  return (uint32_t)alias_draw(from->inputs, from->columns, from->key, (uint64_t)row << 32 | draw);
}

/// Few draws: sort them, then subtract the active columns by a merge. Returns
/// how many it wrote.
static size_t sparse_row(const column_source *from, size_t row, uint32_t draws, active_row active,
                         uint32_t *restrict scratch, uint32_t *restrict out) {
  for (uint32_t j = 0; j < draws; j++) scratch[j] = column_of(from, row, j);
  esp_sort_u32(scratch, draws, scratch + draws);
  size_t n = 0, a = 0;
  for (uint32_t j = 0; j < draws; j++) {
    const uint32_t column = scratch[j];
    if (j > 0 && column == scratch[j - 1]) continue;
    while (a < active.degree && active.columns[a] < column) a++;
    if (a < active.degree && active.columns[a] == column) continue;
    out[n++] = column;
  }
  return n;
}

/// Many draws: flag them, clear the active columns' flags, scan. Returns how
/// many it wrote.
static size_t dense_row(const column_source *from, size_t row, uint32_t draws, active_row active,
                        uint32_t *restrict scratch, uint32_t *restrict out) {
  memset(scratch, 0, from->columns * sizeof *scratch);
  for (uint32_t j = 0; j < draws; j++) scratch[column_of(from, row, j)] = 1;
  for (size_t a = 0; a < active.degree; a++) scratch[active.columns[a]] = 0;
  size_t n = 0;
  for (size_t i = 0; i < from->columns; i++)
    if (scratch[i]) out[n++] = (uint32_t)i;
  return n;
}

size_t esp_candidate_subset(esp_random_key key, const esp_csr *active, const esp_alias *outputs,
                            const esp_alias *inputs, uint64_t draws, uint32_t *restrict row_counts,
                            uint32_t *restrict row_scratch, uint64_t *restrict row_starts,
                            uint32_t *restrict column_indices) {
  const size_t rows = active->rows, columns = active->columns;
  assert(rows < (uint64_t)1 << 32 && columns < (uint64_t)1 << 32);
  assert(draws == 0 || (rows > 0 && columns > 0));
  memset(row_counts, 0, rows * sizeof *row_counts);
  for (uint64_t i = 0; i < draws; i++) row_counts[alias_draw(outputs, rows, key, i)]++;

  const column_source from = {column_stream(key), inputs, columns};
  size_t n = 0;
  row_starts[0] = 0;
  for (size_t o = 0; o < rows; o++) {
    const active_row row = {active->column_indices + active->row_starts[o],
                            active->row_starts[o + 1] - active->row_starts[o]};
    // Sorting needs room for the draws twice; from an eighth of the row on, a
    // scan costs less anyway.
    if (row_counts[o] > columns / 8)
      n += dense_row(&from, o, row_counts[o], row, row_scratch, column_indices + n);
    else if (row_counts[o] > 0)
      n += sparse_row(&from, o, row_counts[o], row, row_scratch, column_indices + n);
    row_starts[o + 1] = n;
  }
  return n;
}
