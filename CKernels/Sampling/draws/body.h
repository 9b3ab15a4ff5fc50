#include "draws/draws.h"
#include "random/philox_lanes.h"

/// Draws whose bits are made at once.
enum { GROUP = RANDOM_LANES };

/// ((high << 32 | low) * n) >> 64 without a product of 128 bits; all three are below 2^32.
ESP_TARGET static inline uint64_t scaled(uint64_t low, uint64_t high, uint64_t n) {
  return (high * n + (low * n >> 32)) >> 32;
}

ESP_TARGET static inline void draw_group(const esp_draw_source *from, const uint64_t *indices, uint32_t out[GROUP]) {
  uint64_t words[4][GROUP];
  random_lanes(from->key, indices, words);
  const uint64_t n = from->n & UINT32_MAX;
  for (size_t j = 0; j < GROUP; j++) out[j] = (uint32_t)scaled(words[0][j], words[1][j], n);
  if (!from->table) return;
  for (size_t j = 0; j < GROUP; j++) {
    const uint64_t level = words[2][j] | words[3][j] << 32;
    const int stays = (double)(level >> 11) * 0x1p-53 < from->table->threshold[out[j]];
    out[j] = stays ? out[j] : (uint32_t)from->table->alias[out[j]];
  }
}

ESP_TARGET void ESP_VARIANT(const esp_draw_source *from, const uint64_t *indices, size_t count, uint32_t *out) {
  size_t j = 0;
  for (; j + GROUP <= count; j += GROUP) draw_group(from, indices + j, out + j);
  if (j == count) return;
  uint64_t last[GROUP] = {0};
  uint32_t drawn[GROUP];
  for (size_t i = 0; i < count - j; i++) last[i] = indices[j + i];
  draw_group(from, last, drawn);
  for (size_t i = 0; i < count - j; i++) out[j + i] = drawn[i];
}
