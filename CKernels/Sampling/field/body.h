#include "field/field.h"
#include "random/philox_lanes.h"

/// Numbers whose words are made at once: those of neighbouring blocks of the stream.
enum { CHUNK = 4 * RANDOM_LANES };

/// words[w][i] := the word of number first + 4 * i + w, first being a multiple of 4; returns how many are wanted.
ESP_TARGET static inline uint32_t draw_chunk(const esp_field_part *part, uint64_t first,
                                             uint64_t words[4][RANDOM_LANES]) {
  uint64_t indices[RANDOM_LANES];
  for (size_t i = 0; i < RANDOM_LANES; i++) indices[i] = first / 4 + i;
  random_lanes(part->key, indices, words);
  uint32_t hits = 0;
  for (size_t w = 0; w < 4; w++)
    for (size_t i = 0; i < RANDOM_LANES; i++) hits += ((uint32_t)words[w][i] >> 1) - part->low < part->width;
  return hits;
}

ESP_TARGET void ESP_VARIANT(const esp_field_part *part, size_t room, uint64_t *row_counts, uint32_t *column_indices,
                            uint32_t *words) {
  uint64_t chunk[4][RANDOM_LANES];
  size_t k = 0;
  for (size_t o = part->first; o < part->last; o++) {
    const uint64_t begin = (uint64_t)o * part->columns, end = begin + part->columns;
    const size_t before = k;
    for (uint64_t number = begin / CHUNK * CHUNK; number < end; number += CHUNK) {
      if (draw_chunk(part, number, chunk) == 0) continue;
      for (size_t j = 0; j < CHUNK; j++) {
        const uint32_t word = (uint32_t)chunk[j % 4][j / 4];
        if (number + j < begin || number + j >= end || (word >> 1) - part->low >= part->width) continue;
        if (k < room) {
          column_indices[k] = (uint32_t)(number + j - begin);
          words[k] = word;
        }
        k++;
      }
    }
    row_counts[o] = k - before;
  }
}
