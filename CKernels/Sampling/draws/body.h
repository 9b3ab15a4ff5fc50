#include "draws/draws.h"
#include "random/philox.h"

/// Draws whose bits are made at once.
enum { GROUP = 8 };

/// words[w][j] := word w of the stream's block number indices[j]. Philox in lanes of 64 bits, whose upper halves are
/// rubbish that no product looks at.
ESP_TARGET static inline void draw_words(esp_random_key key, const uint64_t *indices, uint64_t words[4][GROUP]) {
  uint64_t c0[GROUP], c1[GROUP], c2[GROUP], c3[GROUP];
  for (size_t j = 0; j < GROUP; j++) {
    c0[j] = indices[j];
    c1[j] = indices[j] >> 32;
    c2[j] = key.step;
    c3[j] = key.stream;
  }
  uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
  for (int round = 0; round < 10; round++) {
    for (size_t j = 0; j < GROUP; j++) {
      const uint64_t p0 = (c0[j] & UINT32_MAX) * 0xD2511F53u, p1 = (c2[j] & UINT32_MAX) * 0xCD9E8D57u;
      c0[j] = p1 >> 32 ^ c1[j] ^ k0;
      c2[j] = p0 >> 32 ^ c3[j] ^ k1;
      c1[j] = p1;
      c3[j] = p0;
    }
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
  for (size_t j = 0; j < GROUP; j++) {
    words[0][j] = c0[j] & UINT32_MAX;
    words[1][j] = c1[j] & UINT32_MAX;
    words[2][j] = c2[j] & UINT32_MAX;
    words[3][j] = c3[j] & UINT32_MAX;
  }
}

/// ((high << 32 | low) * n) >> 64 without a product of 128 bits; all three are below 2^32.
ESP_TARGET static inline uint64_t scaled(uint64_t low, uint64_t high, uint64_t n) {
  return (high * n + (low * n >> 32)) >> 32;
}

ESP_TARGET static inline void draw_group(const esp_draw_source *from, const uint64_t *indices, uint32_t out[GROUP]) {
  uint64_t words[4][GROUP];
  draw_words(from->key, indices, words);
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
