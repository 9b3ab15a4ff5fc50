#include "random/philox.h"

void esp_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  const philox_block c = {counter[0], counter[1], counter[2], counter[3]};
  const philox_block block = philox_rounds(c, key[0], key[1]);
  out[0] = block.c0;
  out[1] = block.c1;
  out[2] = block.c2;
  out[3] = block.c3;
}

uint64_t esp_random_bits(esp_random_key key, uint64_t index) {
  return random_bits(key, index);
}
