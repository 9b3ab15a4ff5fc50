#ifndef ESP_DIVIDE_H
#define ESP_DIVIDE_H

#include <stdint.h>

/// Division of 32-bit numbers by one divisor, as a multiplication by ceil(2^64 / divisor). Exact (Lemire, Kaser and
/// Kurz, "Faster remainder by direct computation", 2019, theorem 1: N = 32, F = 64).
typedef struct esp_divider {
  uint32_t divisor;
  uint64_t inverse;  // 0, that is 2^64, where the divisor is 1
} esp_divider;

static inline esp_divider esp_divider_make(uint32_t divisor) {
  return (esp_divider){divisor, UINT64_MAX / divisor + 1};
}

static inline uint32_t esp_divide(uint32_t n, esp_divider by) {
  __extension__ typedef unsigned __int128 wide;
  return by.inverse ? (uint32_t)((wide)by.inverse * n >> 64) : n;
}

#endif
