#include <assert.h>

#include "../include/esp_sparse_matmul.h"

enum {
  SEGMENT = 26,         // connections that a row has in a tile on average, where a tile can be that wide,
  SEGMENT_LEAST = 20,   // and at least: below that, visiting a row once a tile costs more than the cache gives
  NARROWEST = 128,      // columns of a tile,
  STEP = 64,            // that widths are multiples of
  FEWEST = 4,           // tiles across: fewer columns are near enough as they are
  BAND = 1 << 14,       // connections of a band on average: its part of a weight's state stays in L2 from tile to tile
  BAND_ROWS_LEAST = 32  // so that a tile's inputs, read once a band, are read for enough rows
};

static size_t clamp(size_t x, size_t least, size_t most) {
  return x < least ? least : x > most ? most : x;
}

esp_csr_tiles esp_csr_choose_tiles(size_t rows, size_t columns, uint64_t nnz) {
  const esp_csr_tiles none = {0};
  if (nnz == 0) return none;
  const size_t wanted = SEGMENT * rows * columns / nnz;
  const size_t width = clamp((wanted + STEP / 2) / STEP * STEP, NARROWEST, ESP_TILE_COLUMNS_MOST);
  const size_t tiles = (columns + width - 1) / width;
  if (tiles < FEWEST || nnz < SEGMENT_LEAST * rows * tiles) return none;
  return (esp_csr_tiles){.columns = width, .rows = clamp(BAND * rows / nnz, BAND_ROWS_LEAST, ESP_BAND_ROWS_MOST)};
}

static size_t tiles_across(const esp_csr *w, esp_csr_tiles tiles) {
  return (w->columns + tiles.columns - 1) / tiles.columns;
}

size_t esp_csr_segment_count(const esp_csr *w, esp_csr_tiles tiles) {
  return w->rows * tiles_across(w, tiles);
}

/// Segments of the tile that ends before column `end`, in rows `first` on: a counting sort by count. `at` [rows] holds
/// where each row's tile starts, and is moved to where it ends.
static void fill_tile(const esp_csr *w, size_t first, size_t rows, uint64_t end, uint64_t *restrict at,
                      esp_csr_segment *restrict segments) {
  uint16_t counts[ESP_BAND_ROWS_MOST], places[ESP_TILE_COLUMNS_MOST + 2] = {0};
  for (size_t r = 0; r < rows; r++) {
    const uint64_t start = at[r], row_end = w->row_starts[first + r + 1];
    uint64_t k = start;
    while (k < row_end && w->column_indices[k] < end) k++;
    at[r] = k;
    counts[r] = (uint16_t)(k - start);
    places[counts[r] + 1]++;
  }
  for (size_t c = 0; c <= ESP_TILE_COLUMNS_MOST; c++) places[c + 1] += places[c];
  for (size_t r = 0; r < rows; r++) {
    segments[places[counts[r]]++] =
        (esp_csr_segment){.first = (uint32_t)(at[r] - counts[r]), .row = (uint16_t)r, .count = counts[r]};
  }
}

void esp_csr_fill_segments(const esp_csr *w, esp_csr_tiles tiles, esp_csr_segment *restrict segments, int threads) {
  assert(tiles.columns > 0 && tiles.columns <= ESP_TILE_COLUMNS_MOST);
  assert(tiles.rows > 0 && tiles.rows <= ESP_BAND_ROWS_MOST && threads > 0);
  const size_t across = tiles_across(w, tiles), bands = (w->rows + tiles.rows - 1) / tiles.rows;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t band = 0; band < bands; band++) {
    const size_t first = band * tiles.rows, rows = clamp(w->rows - first, 1, tiles.rows);
    uint64_t at[ESP_BAND_ROWS_MOST];
    for (size_t r = 0; r < rows; r++) at[r] = w->row_starts[first + r];
    for (size_t t = 0; t < across; t++) {
      fill_tile(w, first, rows, (t + 1) * tiles.columns, at, segments + first * across + t * rows);
    }
  }
}
