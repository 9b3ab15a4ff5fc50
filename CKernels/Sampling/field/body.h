#include "field/field.h"
#include "random/philox.h"

/// Numbers whose words are made at once: those of eight neighbouring blocks of the stream.
enum { CHUNK = 32 };

/// words[8 * w + i] := the word of number first + 4 * i + w, first being a multiple of 4; returns how many are wanted.
///
/// Philox in lanes of 64 bits, whose upper halves are rubbish that no product looks at.
ESP_TARGET static inline uint32_t draw_chunk(const esp_field_part *part, uint64_t first, uint32_t words[CHUNK]) {
  uint64_t c0[8], c1[8], c2[8], c3[8];
  for (size_t i = 0; i < 8; i++) {
    c0[i] = first / 4 + i;
    c1[i] = (first / 4 + i) >> 32;
    c2[i] = part->key.step;
    c3[i] = part->key.stream;
  }
  uint32_t k0 = (uint32_t)part->key.seed, k1 = (uint32_t)(part->key.seed >> 32);
  for (int round = 0; round < 10; round++) {
    for (size_t i = 0; i < 8; i++) {
      const uint64_t p0 = (c0[i] & UINT32_MAX) * 0xD2511F53u, p1 = (c2[i] & UINT32_MAX) * 0xCD9E8D57u;
      c0[i] = p1 >> 32 ^ c1[i] ^ k0;
      c2[i] = p0 >> 32 ^ c3[i] ^ k1;
      c1[i] = p1;
      c3[i] = p0;
    }
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
  for (size_t i = 0; i < 8; i++) {
    words[i] = (uint32_t)c0[i];
    words[8 + i] = (uint32_t)c1[i];
    words[16 + i] = (uint32_t)c2[i];
    words[24 + i] = (uint32_t)c3[i];
  }
  uint32_t hits = 0;
  for (size_t i = 0; i < CHUNK; i++) hits += (words[i] >> 1) - part->low < part->width;
  return hits;
}

ESP_TARGET void ESP_VARIANT(const esp_field_part *part, size_t room, uint64_t *row_counts, uint32_t *column_indices,
                            uint32_t *words) {
  uint32_t chunk[CHUNK];
  size_t k = 0;
  for (size_t o = part->first; o < part->last; o++) {
    const uint64_t begin = (uint64_t)o * part->columns, end = begin + part->columns;
    const size_t before = k;
    for (uint64_t number = begin / CHUNK * CHUNK; number < end; number += CHUNK) {
      if (draw_chunk(part, number, chunk) == 0) continue;
      for (size_t j = 0; j < CHUNK; j++) {
        const uint32_t word = chunk[j % 4 * 8 + j / 4];
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
