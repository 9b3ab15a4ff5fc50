#ifndef ESP_FIELD_H
#define ESP_FIELD_H

#include "esp_sampling.h"

/// The rows first ..< last of a field, and which levels are wanted: low ..< low + width.
typedef struct esp_field_part {
  esp_random_key key;
  size_t columns, first, last;
  uint32_t low, width;
} esp_field_part;

/// A variant: counts each row's connections, and writes the first `room` of all.
typedef void esp_field_collect_rows(const esp_field_part *part, size_t room, uint64_t *row_counts,
                                    uint32_t *column_indices, uint32_t *words);

extern esp_field_collect_rows esp_field_scalar, esp_field_avx2;

#endif
