#include <string.h>

#include "subset.h"

enum { DIGIT = 8, BUCKETS = 1 << DIGIT, SHORT = 32 };

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

static void insertion_sort(uint32_t *keys, size_t n) {
  for (size_t i = 1; i < n; i++) {
    const uint32_t key = keys[i];
    size_t j = i;
    for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
    keys[j] = key;
  }
}

void esp_sort_u32(uint32_t *restrict keys, size_t n, uint32_t *restrict workspace) {
  if (n <= SHORT) {
    insertion_sort(keys, n);
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
