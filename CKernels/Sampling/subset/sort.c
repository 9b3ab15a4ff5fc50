#include <string.h>

#include "subset.h"

enum { DIGITS = 8, BUCKETS = 256, SHORT = 32 };

/// Counts become the position of each bucket's first key. Returns 0 where one bucket holds all n keys.
static int start_positions(size_t counts[BUCKETS], size_t n) {
  size_t position = 0;
  for (size_t v = 0; v < BUCKETS; v++) {
    const size_t count = counts[v];
    if (count == n) return 0;
    counts[v] = position;
    position += count;
  }
  return 1;
}

void esp_sort_u64(uint64_t *restrict keys, size_t n, uint64_t *restrict workspace) {
  if (n < 2) return;
  size_t counts[DIGITS][BUCKETS];
  memset(counts, 0, sizeof counts);
  for (size_t i = 0; i < n; i++)
    for (int digit = 0; digit < DIGITS; digit++) counts[digit][keys[i] >> (8 * digit) & 255]++;
  uint64_t *from = keys, *to = workspace;
  for (int digit = 0; digit < DIGITS; digit++) {
    if (!start_positions(counts[digit], n)) continue;
    for (size_t i = 0; i < n; i++) to[counts[digit][from[i] >> (8 * digit) & 255]++] = from[i];
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
  uint32_t *from = keys, *to = workspace;
  for (int shift = 0; shift < 32; shift += 8) {
    size_t counts[BUCKETS] = {0};
    for (size_t i = 0; i < n; i++) counts[from[i] >> shift & 255]++;
    if (!start_positions(counts, n)) continue;
    for (size_t i = 0; i < n; i++) to[counts[from[i] >> shift & 255]++] = from[i];
    uint32_t *const sorted = to;
    to = from;
    from = sorted;
  }
  if (from != keys) memcpy(keys, from, n * sizeof *keys);
}
