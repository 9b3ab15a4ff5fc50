#include <assert.h>
#include <string.h>

#include "gradient_tile.h"

static esp_gradient_tile_columns *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_gradient_tile_columns_scalar, esp_gradient_tile_columns_avx2, esp_gradient_tile_columns_avx512,
                 esp_gradient_tile_columns_neon);

enum { GRAIN = 64, BAND = 4 };  // columns and rows that are cut between threads: whole panels of every variant

/// Rows [first, last) of a tile.
static esp_gradient_tile rows_of(const esp_gradient_tile *t, size_t first, size_t last) {
  esp_gradient_tile part = *t;
  part.rows = last - first;
  part.d += first * t->lanes;
  part.g += first * t->g_columns;
  return part;
}

void esp_gradient_tile_f32(esp_isa isa, const esp_gradient_tile *t, int accumulate, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(t->lanes == 1 || t->lanes == 8 || t->lanes == 16 || t->lanes == 32);
  if (t->rows == 0 || t->columns == 0) return;
  if (t->blocks == 0 && !accumulate) {
    for (size_t r = 0; r < t->rows; r++) memset(t->g + r * t->g_columns, 0, t->columns * sizeof *t->g);
  }
  const size_t grains = (t->columns + GRAIN - 1) / GRAIN, bands = (t->rows + BAND - 1) / BAND;
  // Few columns would leave threads without work: rows are cut as well then, and each part makes its own panels.
  const size_t wanted = ((size_t)threads + grains - 1) / grains, cuts = wanted < bands ? wanted : bands;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t unit = 0; unit < grains * cuts; unit++) {
    const size_t cut = unit / grains, first = unit % grains * GRAIN;
    const size_t end = esp_part(bands, cut + 1, cuts) * BAND, last = first + GRAIN;
    const esp_gradient_tile part = rows_of(t, esp_part(bands, cut, cuts) * BAND, end < t->rows ? end : t->rows);
    variants[isa](&part, accumulate, first, last < t->columns ? last : t->columns);
  }
}
