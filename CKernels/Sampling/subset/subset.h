#ifndef ESP_SUBSET_H
#define ESP_SUBSET_H

#include "esp_sampling.h"

/// So few keys are sorted by their ranks.
enum { ESP_SHORT_SORT = 32 };

/// Sorts keys [n], below 2^32 - 1, in ascending order: by their ranks where they are few, else by radix. workspace [n],
/// for a radix sort.
void esp_sort_u32(uint32_t *restrict keys, size_t n, uint32_t *restrict workspace);

/// out := the union of two ascending lists, of which b may repeat itself.
/// Returns its size.
size_t esp_merge_unique(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count, uint64_t *restrict out);

/// The structure whose connections are the ascending keys row * columns +
/// column.
void esp_emit_keys(const uint64_t *keys, size_t rows, size_t columns, size_t count, uint64_t *restrict row_starts,
                   uint32_t *restrict column_indices);

/// keys [count] := a uniformly random set of `count` distinct integers in [0,
/// n), ascending. workspace [count].
///
/// Expected cost: O(count) for count <= n / 2, times the rounds, log(count) /
/// log(n / count) of them.
void esp_draw_distinct(esp_random_key key, uint64_t n, size_t count, uint64_t *restrict keys,
                       uint64_t *restrict workspace);

#endif
