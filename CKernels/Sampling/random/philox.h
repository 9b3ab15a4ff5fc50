#ifndef ESP_PHILOX_H
#define ESP_PHILOX_H

#include "esp_sampling.h"

typedef struct philox_block {
  uint32_t c0, c1, c2, c3;
} philox_block;

#define PHILOX_FACTOR_0 0xD2511F53u
#define PHILOX_FACTOR_1 0xCD9E8D57u
#define PHILOX_STEP_0 0x9E3779B9u  // golden ratio
#define PHILOX_STEP_1 0xBB67AE85u  // sqrt(3) - 1

static inline philox_block philox_round(philox_block c, uint32_t k0, uint32_t k1) {
  const uint64_t p0 = (uint64_t)PHILOX_FACTOR_0 * c.c0;
  const uint64_t p1 = (uint64_t)PHILOX_FACTOR_1 * c.c2;
  return (philox_block){(uint32_t)(p1 >> 32) ^ c.c1 ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c.c3 ^ k1, (uint32_t)p0};
}

/// Ten rounds of Philox4x32 on a counter; inlined, so that blocks of
/// neighbouring numbers are computed side by side.
static inline philox_block philox_rounds(philox_block c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    c = philox_round(c, k0, k1);
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
  return c;
}

/// The stream's 128 random bits number `index`.
static inline philox_block random_block(esp_random_key key, uint64_t index) {
  const philox_block counter = {(uint32_t)index, (uint32_t)(index >> 32), key.step, key.stream};
  return philox_rounds(counter, (uint32_t)key.seed, (uint32_t)(key.seed >> 32));
}

/// c[w][i] := word w of the stream's block (first + i * step) / 4, which holds number first + i * step, for i < count,
/// a constant of at most 8. What the caller is compiled for says how many are computed at a time.
__attribute__((always_inline)) static inline void random_blocks(const size_t count, esp_random_key key, uint64_t first,
                                                                uint64_t step, uint32_t c[4][8]) {
  uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
  for (size_t i = 0; i < count; i++) {
    const uint64_t index = (first + i * step) / 4;
    c[0][i] = (uint32_t)index;
    c[1][i] = (uint32_t)(index >> 32);
    c[2][i] = key.step;
    c[3][i] = key.stream;
  }
  for (int round = 0; round < 10; round++) {
    for (size_t i = 0; i < count; i++) {
      const philox_block out = philox_round((philox_block){c[0][i], c[1][i], c[2][i], c[3][i]}, k0, k1);
      c[0][i] = out.c0;
      c[1][i] = out.c1;
      c[2][i] = out.c2;
      c[3][i] = out.c3;
    }
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
}

/// esp_random_bits, inlined.
static inline uint64_t random_bits(esp_random_key key, uint64_t index) {
  const philox_block out = random_block(key, index);
  return out.c0 | (uint64_t)out.c1 << 32;
}

/// esp_random_below, inlined.
static inline uint64_t random_below(esp_random_key key, uint64_t index, uint64_t n) {
  return (uint64_t)((unsigned __int128)random_bits(key, index) * n >> 64);
}

#endif
