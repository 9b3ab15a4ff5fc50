#include <assert.h>
#include <string.h>

#include "gradient_tile.h"

static esp_gradient_tile_columns *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_gradient_tile_columns_scalar, esp_gradient_tile_columns_avx2, esp_gradient_tile_columns_avx512,
                 esp_gradient_tile_columns_neon);

void esp_gradient_tile_f32(esp_isa isa, const esp_gradient_tile *t, int accumulate, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(t->lanes == 1 || t->lanes == 8 || t->lanes == 16 || t->lanes == 32);
  enum { grain = 64 };  // columns: whole panels of every variant
  const size_t grains = (t->columns + grain - 1) / grain;
  for (size_t r = 0; t->blocks == 0 && !accumulate && r < t->rows; r++) {
    memset(t->g + r * t->g_columns, 0, t->columns * sizeof *t->g);
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    const size_t first = esp_part(grains, part, threads) * grain, end = esp_part(grains, part + 1, threads) * grain;
    const size_t last = end < t->columns ? end : t->columns;
    if (first < last) variants[isa](t, accumulate, first, last);
  }
}
