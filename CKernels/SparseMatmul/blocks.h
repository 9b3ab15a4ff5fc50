#ifndef ESP_BLOCKS_H
#define ESP_BLOCKS_H

#include <stddef.h>

/// Blocks of `floats` inputs each that a task takes together: they share weights and indices, as long as their inputs
/// stay in half of an L2 of 2 MB.
static inline size_t esp_blocks_at_once(size_t floats) {
  const size_t fit = ((size_t)1 << 18) / (floats > 0 ? floats : 1);
  return fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}

#endif
