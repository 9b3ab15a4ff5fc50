#ifndef ESP_ACTIVITY_INTERNAL_H
#define ESP_ACTIVITY_INTERNAL_H

#include "esp_activity.h"

/// Number of blocks of samples.
static inline size_t sample_blocks(size_t samples, size_t lanes) {
  return (samples + lanes - 1) / lanes;
}

/// Lanes of block `block` that hold a sample.
static inline size_t lanes_used(size_t samples, size_t lanes, size_t block) {
  const size_t left = samples - block * lanes;
  return left < lanes ? left : lanes;
}

#endif
