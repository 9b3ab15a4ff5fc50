#ifndef ESP_TOP_K_H
#define ESP_TOP_K_H

#include <string.h>

#include "esp_sampling.h"

#define MAGNITUDE_MASK 0x7fffffffu

/// Orders as |value| does: IEEE magnitudes compare like their bits, NaN above infinity.
static inline uint32_t magnitude_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits & MAGNITUDE_MASK;
}

#endif
