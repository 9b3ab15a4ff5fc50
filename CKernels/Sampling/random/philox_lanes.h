/// Philox for eight blocks at once, compiled for the variant that includes it (which defines ESP_TARGET).
#ifndef ESP_PHILOX_LANES_H
#define ESP_PHILOX_LANES_H

#include "random/philox.h"

/// Blocks whose bits are made at once.
enum { RANDOM_LANES = 8 };

/// words[w][j] := word w of the stream's block number indices[j], below 2^32. Lanes of 64 bits, whose upper halves are
/// rubbish between the rounds that no product looks at.
ESP_TARGET static inline void random_lanes(esp_random_key key, const uint64_t indices[RANDOM_LANES],
                                           uint64_t words[4][RANDOM_LANES]) {
  uint64_t c0[RANDOM_LANES], c1[RANDOM_LANES], c2[RANDOM_LANES], c3[RANDOM_LANES];
  for (size_t j = 0; j < RANDOM_LANES; j++) {
    c0[j] = indices[j];
    c1[j] = indices[j] >> 32;
    c2[j] = key.step;
    c3[j] = key.stream;
  }
  uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
  for (int round = 0; round < 10; round++) {
    for (size_t j = 0; j < RANDOM_LANES; j++) {
      const uint64_t p0 = (c0[j] & UINT32_MAX) * PHILOX_FACTOR_0, p1 = (c2[j] & UINT32_MAX) * PHILOX_FACTOR_1;
      c0[j] = p1 >> 32 ^ c1[j] ^ k0;
      c2[j] = p0 >> 32 ^ c3[j] ^ k1;
      c1[j] = p1;
      c3[j] = p0;
    }
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
  for (size_t j = 0; j < RANDOM_LANES; j++) {
    words[0][j] = c0[j] & UINT32_MAX;
    words[1][j] = c1[j] & UINT32_MAX;
    words[2][j] = c2[j] & UINT32_MAX;
    words[3][j] = c3[j] & UINT32_MAX;
  }
}

#endif
