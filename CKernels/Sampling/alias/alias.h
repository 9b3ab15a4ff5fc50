#ifndef ESP_ALIAS_H
#define ESP_ALIAS_H

#include "random/philox.h"

/// esp_alias_draw, inlined; NULL is the uniform table.
static inline size_t alias_draw(const esp_alias *table, size_t n, esp_random_key key, uint64_t index) {
  if (!table) return random_below(key, index, n);
  const philox_block block = random_block(key, index);
  const uint64_t place = block.c0 | (uint64_t)block.c1 << 32, level = block.c2 | (uint64_t)block.c3 << 32;
  const size_t i = (size_t)((unsigned __int128)place * table->n >> 64);
  return (double)(level >> 11) * 0x1p-53 < table->threshold[i] ? i : table->alias[i];
}

/// The stream that a pair's columns come from.
static inline esp_random_key column_stream(esp_random_key key) {
  key.stream ^= 0x80000000u;
  return key;
}

#endif
