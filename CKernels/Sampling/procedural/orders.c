#include <assert.h>
#include <math.h>
#include <string.h>

#include "esp_procedural.h"

/// Ascends with `x`; 0 for a NaN with a sign alone, which a product of finite numbers never is.
static inline uint32_t order_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// NaN without a sign, so that it is found among the largest.
static inline float found(float x) {
  return x == x ? x : fabsf(NAN);
}

static void orders_part(esp_score rule, const float *restrict values, const float *restrict gradients, float factor,
                        size_t n, uint32_t *restrict orders) {
  switch (rule) {
    case ESP_SCORE_MAGNITUDE:
      for (size_t i = 0; i < n; i++) orders[i] = order_of(fabsf(found(values[i])) * factor);
      break;
    case ESP_SCORE_SALIENCY:
      for (size_t i = 0; i < n; i++) orders[i] = order_of(fabsf(found(values[i] * gradients[i])) * factor);
      break;
    case ESP_SCORE_SIGNED:
      // + 0.0f: zero has one order, whatever its sign.
      for (size_t i = 0; i < n; i++) orders[i] = order_of(found(values[i] * gradients[i]) * factor + 0.0f);
      break;
  }
}

void esp_score_orders(esp_score rule, const float *restrict values, const float *restrict gradients, float factor,
                      size_t n, uint32_t *restrict orders, int threads) {
  assert(factor >= 0 && (gradients || rule == ESP_SCORE_MAGNITUDE));
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    const size_t first = n * (size_t)t / (size_t)threads, end = n * ((size_t)t + 1) / (size_t)threads;
    orders_part(rule, values + first, gradients ? gradients + first : NULL, factor, end - first, orders + first);
  }
}

void esp_order_histogram(const uint32_t *orders, size_t n, int lower, uint32_t prefix, uint64_t *restrict counts,
                         int threads) {
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    uint64_t *own = counts + ((size_t)t << 16);
    const size_t first = n * (size_t)t / (size_t)threads, end = n * ((size_t)t + 1) / (size_t)threads;
    if (!lower) {
      for (size_t i = first; i < end; i++) own[orders[i] >> 16]++;
    } else {
      for (size_t i = first; i < end; i++)
        if (orders[i] >> 16 == prefix) own[orders[i] & 0xFFFF]++;
    }
  }
}

void esp_order_merge(uint64_t *counts, int threads) {
  for (int t = 1; t < threads; t++)
    for (size_t b = 0; b < 65536; b++) counts[b] += counts[((size_t)t << 16) + b];
}

size_t esp_order_largest(const uint32_t *orders, size_t n) {
  uint32_t largest = 0;
  for (size_t i = 0; i < n; i++) largest = orders[i] > largest ? orders[i] : largest;
  size_t place = 0;
  while (place + 1 < n && orders[place] != largest) place++;
  return place;
}

size_t esp_order_collect(const uint32_t *orders, size_t n, uint32_t cut, uint64_t *ties, size_t always,
                         uint32_t *restrict selected) {
  size_t count = 0;
  for (size_t i = 0; i < n; i++) {
    if (i == always) {
      selected[count++] = (uint32_t)i;
    } else if (orders[i] > cut) {
      selected[count++] = (uint32_t)i;
    } else if (orders[i] == cut && *ties > 0) {
      selected[count++] = (uint32_t)i;
      *ties -= 1;
    }
  }
  return count;
}
