#include "top_k.h"

size_t esp_collect(const float *values, size_t n, esp_cut *cut, esp_order order, uint32_t *restrict selected) {
  // Beyond the cut in the order of magnitudes <=> beyond it in the order of bits, read upwards or downwards.
  const uint32_t flip = order == ESP_LARGEST ? 0 : MAGNITUDE_MASK;
  const uint32_t limit = cut->bits ^ flip;
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    const uint32_t bits = magnitude_bits(values[i]) ^ flip;
    if (bits < limit) continue;
    if (bits == limit) {
      if (cut->ties == 0) continue;
      cut->ties--;
    }
    selected[count++] = (uint32_t)i;
  }
  return count;
}
