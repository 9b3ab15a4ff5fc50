#include <string.h>

#include "subset.h"

enum { DIGIT = 8, BUCKETS = 1 << DIGIT };

/// Counts become the position of each bucket's first key.
static void start_positions(size_t counts[BUCKETS]) {
  size_t position = 0;
  for (size_t v = 0; v < BUCKETS; v++) {
    const size_t count = counts[v];
    counts[v] = position;
    position += count;
  }
}

void esp_sort_u64(uint64_t *restrict keys, size_t n, uint64_t *restrict workspace) {
  uint64_t ones = 0, zeros = 0;
  for (size_t i = 0; i < n; i++) {
    ones |= keys[i];
    zeros |= ~keys[i];
  }
  const uint64_t varying = ones & zeros;  // digits in which all keys agree need no pass
  uint64_t *from = keys, *to = workspace;
  for (int shift = 0; shift < 64; shift += DIGIT) {
    if ((varying >> shift & (BUCKETS - 1)) == 0) continue;
    size_t counts[BUCKETS] = {0};
    for (size_t i = 0; i < n; i++) counts[from[i] >> shift & (BUCKETS - 1)]++;
    start_positions(counts);
    for (size_t i = 0; i < n; i++) to[counts[from[i] >> shift & (BUCKETS - 1)]++] = from[i];
    uint64_t *const sorted = to;
    to = from;
    from = sorted;
  }
  if (from != keys) memcpy(keys, from, n * sizeof *keys);
}

/// By the rank of each: no branch depends on a key. Equal keys have one rank, and leave holes behind it.
static void rank_sort(uint32_t *restrict keys, size_t n) {
  enum { LANES = 8 };
  int32_t moved[ESP_SHORT_SORT];  // signed, which is what every processor's vectors compare
  for (size_t i = 0; i < n; i++) moved[i] = (int32_t)(keys[i] ^ 0x80000000u);
  for (size_t i = n; i % LANES > 0; i++) moved[i] = INT32_MAX;
  for (size_t i = 0; i < n; i++) keys[i] = UINT32_MAX;
  for (size_t i = 0; i < n; i += LANES) {
    int32_t ranks[LANES] = {0};
    for (size_t j = 0; j < n; j++) {
      for (size_t l = 0; l < LANES; l++) ranks[l] += moved[j] < moved[i + l];
    }
    for (size_t l = 0; l < LANES && i + l < n; l++) keys[ranks[l]] = (uint32_t)moved[i + l] ^ 0x80000000u;
  }
  for (size_t i = 1; i < n; i++) keys[i] = keys[i] == UINT32_MAX ? keys[i - 1] : keys[i];
}

void esp_sort_u32(uint32_t *restrict keys, size_t n, uint32_t *restrict workspace) {
  if (n <= ESP_SHORT_SORT) {
    rank_sort(keys, n);
    return;
  }
  uint32_t largest = 0;
  for (size_t i = 0; i < n; i++) largest = keys[i] > largest ? keys[i] : largest;
  uint32_t *from = keys, *to = workspace;
  for (int shift = 0; shift < 32 && largest >> shift > 0; shift += DIGIT) {
    size_t counts[BUCKETS] = {0};
    for (size_t i = 0; i < n; i++) counts[from[i] >> shift & (BUCKETS - 1)]++;
    start_positions(counts);
    for (size_t i = 0; i < n; i++) to[counts[from[i] >> shift & (BUCKETS - 1)]++] = from[i];
    uint32_t *const sorted = to;
    to = from;
    from = sorted;
  }
  if (from != keys) memcpy(keys, from, n * sizeof *keys);
}
