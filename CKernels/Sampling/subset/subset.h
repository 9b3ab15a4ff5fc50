#ifndef ESP_SUBSET_H
#define ESP_SUBSET_H

#include "esp_sampling.h"

/// Sorts keys [n] in ascending order: insertion sort where they are few, else
/// radix sort. workspace [n].
void esp_sort_u32(uint32_t *restrict keys, size_t n, uint32_t *restrict workspace);

/// keys [count] := a uniformly random set of `count` distinct integers in [0,
/// n), ascending. workspace [count].
///
/// Expected cost: O(count) for count <= n / 2, times the rounds, log(count) /
/// log(n / count) of them.
void esp_draw_distinct(esp_random_key key, uint64_t n, size_t count, uint64_t *restrict keys,
                       uint64_t *restrict workspace);

#endif
