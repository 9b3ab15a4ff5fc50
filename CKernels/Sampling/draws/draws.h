#ifndef ESP_DRAWS_H
#define ESP_DRAWS_H

#include "esp_sampling.h"

/// A table, or NULL for the uniform one, of n entries, and the stream that it is drawn from.
typedef struct esp_draw_source {
  esp_random_key key;
  const esp_alias *table;
  size_t n;  // below 2^32
} esp_draw_source;

/// A variant: out[j] := esp_alias_draw(table, key, indices[j]), the uniform one's esp_random_below(key, indices[j], n);
/// j < count.
typedef void esp_draw(const esp_draw_source *from, const uint64_t *indices, size_t count, uint32_t *out);

extern esp_draw esp_draw_scalar, esp_draw_avx2;

/// The best that this processor runs; all make the same numbers.
esp_draw *esp_draw_best(void);

#endif
