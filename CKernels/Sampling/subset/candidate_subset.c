#include <assert.h>
#include <string.h>

#include "alias/alias.h"
#include "draws/draws.h"
#include "subset.h"

/// Draws that are made at once, of several rows where these are few.
enum { BATCH = 512 };

/// One row's active columns, ascending.
typedef struct active_row {
  const uint32_t *columns;
  size_t degree;
} active_row;

static active_row active_row_of(const esp_csr *active, size_t o) {
  const uint64_t first = active->row_starts[o];
  return (active_row){active->column_indices + first, active->row_starts[o + 1] - first};
}

/// Draws `first` and later of a row's columns.
static void draw_columns(esp_draw *draw, const esp_draw_source *from, size_t row, uint32_t first, size_t count,
                         uint32_t *restrict out) {
  uint64_t indices[BATCH];
  for (size_t j = 0; j < count; j++) indices[j] = (uint64_t)row << 32 | (first + j);
  draw(from, indices, count, out);
}

/// Without repetitions and active columns: from sorted draws. Returns how many it wrote.
static size_t subtract(const uint32_t *restrict sorted, size_t draws, active_row active, uint32_t *restrict out) {
  size_t n = 0, a = 0;
  for (size_t j = 0; j < draws; j++) {
    const uint32_t column = sorted[j];
    if (j > 0 && column == sorted[j - 1]) continue;
    while (a < active.degree && active.columns[a] < column) a++;
    if (a < active.degree && active.columns[a] == column) continue;
    out[n++] = column;
  }
  return n;
}

/// Draws of less than an eighth of the columns: sort them, then subtract the active columns by a merge.
static size_t sparse_row(esp_draw *draw, const esp_draw_source *from, size_t row, uint32_t draws, active_row active,
                         uint32_t *restrict scratch, uint32_t *restrict out) {
  for (uint32_t j = 0; j < draws; j += BATCH)
    draw_columns(draw, from, row, j, draws - j < BATCH ? draws - j : BATCH, scratch + j);
  esp_sort_u32(scratch, draws, scratch + draws);
  return subtract(scratch, draws, active, out);
}

/// Many draws: flag them, clear the active columns' flags, scan.
static size_t dense_row(esp_draw *draw, const esp_draw_source *from, size_t row, uint32_t draws, active_row active,
                        uint32_t *restrict scratch, uint32_t *restrict out) {
  uint32_t drawn[BATCH];
  memset(scratch, 0, from->n * sizeof *scratch);
  for (uint32_t j = 0; j < draws; j += BATCH) {
    const size_t count = draws - j < BATCH ? draws - j : BATCH;
    draw_columns(draw, from, row, j, count, drawn);
    for (size_t i = 0; i < count; i++) scratch[drawn[i]] = 1;
  }
  for (size_t a = 0; a < active.degree; a++) scratch[active.columns[a]] = 0;
  size_t n = 0;
  for (size_t i = 0; i < from->n; i++)
    if (scratch[i]) out[n++] = (uint32_t)i;
  return n;
}

/// How many rows from `first` on have few draws each and make a batch; 0 where the first has many.
static size_t rows_of_batch(const uint32_t *row_counts, size_t first, size_t rows, size_t *restrict total) {
  size_t last = first;
  *total = 0;
  while (last < rows && row_counts[last] <= ESP_SHORT_SORT && *total + row_counts[last] <= BATCH)
    *total += row_counts[last++];
  return last - first;
}

/// Rows of few draws. Returns how many candidates it wrote.
static size_t batch_of_rows(esp_draw *draw, const esp_draw_source *from, const esp_csr *active, size_t first,
                            size_t count, const uint32_t *restrict row_counts, uint64_t *restrict row_ends, size_t n,
                            uint32_t *restrict column_indices) {
  uint64_t indices[BATCH];
  uint32_t drawn[BATCH];
  size_t total = 0;
  for (size_t o = first; o < first + count; o++)
    for (uint32_t j = 0; j < row_counts[o]; j++) indices[total++] = (uint64_t)o << 32 | j;
  draw(from, indices, total, drawn);
  uint32_t *own = drawn;
  for (size_t o = first; o < first + count; o++) {
    esp_sort_u32(own, row_counts[o], NULL);
    n += subtract(own, row_counts[o], active_row_of(active, o), column_indices + n);
    row_ends[o] = n;
    own += row_counts[o];
  }
  return n;
}

/// row_counts := how often each row is drawn.
static void count_rows(esp_draw *draw, const esp_draw_source *from, uint64_t draws, uint32_t *restrict row_counts) {
  uint64_t indices[BATCH];
  uint32_t drawn[BATCH];
  memset(row_counts, 0, from->n * sizeof *row_counts);
  for (uint64_t first = 0; first < draws; first += BATCH) {
    const size_t count = draws - first < BATCH ? draws - first : BATCH;
    for (size_t j = 0; j < count; j++) indices[j] = first + j;
    draw(from, indices, count, drawn);
    for (size_t j = 0; j < count; j++) row_counts[drawn[j]]++;
  }
}

size_t esp_candidate_subset(esp_random_key key, const esp_csr *active, const esp_alias *outputs,
                            const esp_alias *inputs, uint64_t draws, uint32_t *restrict row_counts,
                            uint32_t *restrict row_scratch, uint64_t *restrict row_starts,
                            uint32_t *restrict column_indices) {
  const size_t rows = active->rows, columns = active->columns;
  assert(rows < (uint64_t)1 << 32 && columns < (uint64_t)1 << 32);
  assert(draws == 0 || (rows > 0 && columns > 0));
  esp_draw *const draw = esp_draw_best();
  count_rows(draw, &(esp_draw_source){key, outputs, rows}, draws, row_counts);

  const esp_draw_source from = {column_stream(key), inputs, columns};
  size_t n = 0, total;
  row_starts[0] = 0;
  for (size_t o = 0; o < rows;) {
    const size_t batch = rows_of_batch(row_counts, o, rows, &total);
    if (batch > 0) {
      n = batch_of_rows(draw, &from, active, o, batch, row_counts, row_starts + 1, n, column_indices);
      o += batch;
      continue;
    }
    // Sorting needs room for the draws twice; from an eighth of the row on, a scan costs less anyway.
    const active_row row = active_row_of(active, o);
    if (row_counts[o] > columns / 8)
      n += dense_row(draw, &from, o, row_counts[o], row, row_scratch, column_indices + n);
    else
      n += sparse_row(draw, &from, o, row_counts[o], row, row_scratch, column_indices + n);
    row_starts[++o] = n;
  }
  return n;
}
