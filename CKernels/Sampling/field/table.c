#include <assert.h>

#include "field/field.h"

static esp_field_collect_rows *kernel_of(esp_isa isa) {
  static esp_field_collect_rows *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(esp_field_scalar, esp_field_avx2, esp_field_avx2, esp_field_scalar);
  return table[isa];
}

void esp_field_collect(esp_isa isa, esp_random_key key, size_t rows, size_t columns, uint32_t low, uint32_t high,
                       size_t tile_rows, size_t room, uint64_t *restrict row_counts, uint32_t *restrict column_indices,
                       uint32_t *restrict words, int threads) {
  assert(low <= high && high <= ESP_FIELD_LEVELS && tile_rows > 0);
  const size_t tiles = (rows + tile_rows - 1) / tile_rows;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t tile = 0; tile < tiles; tile++) {
    const size_t first = tile * tile_rows, left = rows - first;
    const esp_field_part part = {key, columns, first, first + (left < tile_rows ? left : tile_rows), low, high - low};
    kernel_of(isa)(&part, room, row_counts, column_indices + tile * room, words + tile * room);
  }
}
