#ifndef ESP_BLOCKS_H
#define ESP_BLOCKS_H

#include <stddef.h>

/// Blocks of `floats` inputs each that are taken together: they share weights and indices, as long as the inputs, which
/// are read at random, stay in half of an L2 of 2 MB.
static inline size_t esp_blocks_at_once(size_t floats) {
  const size_t fitting = ((size_t)1 << 18) / (floats > 0 ? floats : 1);
  return fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
}

#endif
