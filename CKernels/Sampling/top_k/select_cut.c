#include <assert.h>
#include <string.h>

#include "top_k.h"

/// Counts, by the digit (bits >> shift) & mask, the magnitudes that agree with `prefix` above that digit.
static void count_digits(const esp_segment *segments, size_t segment_count, uint32_t prefix, int shift, int width,
                         uint64_t *restrict histogram) {
  const uint32_t mask = ((uint32_t)1 << width) - 1;
  memset(histogram, 0, ((size_t)mask + 1) * sizeof *histogram);
  for (size_t s = 0; s < segment_count; s++) {
    for (size_t i = 0; i < segments[s].count; i++) {
      const uint32_t bits = magnitude_bits(segments[s].values[i]);
      if (bits >> (shift + width) == prefix >> (shift + width)) histogram[bits >> shift & mask]++;
    }
  }
}

esp_cut esp_select_cut(const esp_segment *segments, size_t segment_count, size_t k, esp_order order,
                       uint64_t *restrict histogram) {
  if (k == 0) return (esp_cut){.bits = order == ESP_LARGEST ? MAGNITUDE_MASK : 0, .ties = 0};
  static const struct { int shift, width; } digits[3] = {{20, 11}, {10, 10}, {0, 10}};
  uint32_t prefix = 0;
  uint64_t wanted = k;  // rank, from 1, of the cut among the magnitudes with this prefix
  for (int pass = 0; pass < 3; pass++) {
    const uint32_t buckets = (uint32_t)1 << digits[pass].width;
    count_digits(segments, segment_count, prefix, digits[pass].shift, digits[pass].width, histogram);
    uint32_t step = 0;
    for (;; step++) {
      assert(step < buckets && "k exceeds the number of entries");
      const uint32_t bucket = order == ESP_LARGEST ? buckets - 1 - step : step;
      if (histogram[bucket] >= wanted) {
        prefix |= bucket << digits[pass].shift;
        break;
      }
      wanted -= histogram[bucket];
    }
  }
  return (esp_cut){.bits = prefix, .ties = wanted};
}
