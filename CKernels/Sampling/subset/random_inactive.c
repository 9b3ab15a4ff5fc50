#include <assert.h>

#include "subset.h"

/// Walks the ranks chosen among the inactive connections: `keys` themselves, or
/// all others.
typedef struct chosen_ranks {
  const uint64_t *keys;
  size_t key_count;
  size_t next_key;
  uint64_t next_rank;
  int complement;
} chosen_ranks;

/// The next chosen rank below `end`, or `end` where there is none.
static uint64_t next_rank(chosen_ranks *ranks, uint64_t end) {
  if (!ranks->complement) {
    if (ranks->next_key == ranks->key_count || ranks->keys[ranks->next_key] >= end) return end;
    return ranks->keys[ranks->next_key++];
  }
  while (ranks->next_rank < end) {
    const uint64_t rank = ranks->next_rank++;
    if (ranks->next_key == ranks->key_count || ranks->keys[ranks->next_key] != rank) return rank;
    ranks->next_key++;
  }
  return end;
}

void esp_random_inactive(esp_random_key key, const esp_csr *active, size_t count, uint64_t *restrict keys,
                         uint64_t *restrict workspace, uint64_t *restrict row_starts,
                         uint32_t *restrict column_indices) {
  const uint64_t inactive = (uint64_t)active->rows * active->columns - active->row_starts[active->rows];
  assert(count <= inactive);
  const int complement = count > inactive / 2;
  const size_t drawn = complement ? inactive - count : count;
  esp_draw_distinct(key, inactive, drawn, keys, workspace);

  chosen_ranks ranks = {.keys = keys, .key_count = drawn, .complement = complement};
  uint64_t first = 0;  // rank of the row's first inactive connection
  size_t n = 0;
  row_starts[0] = 0;
  for (size_t o = 0; o < active->rows; o++) {
    const uint32_t *const columns = active->column_indices + active->row_starts[o];
    const size_t degree = active->row_starts[o + 1] - active->row_starts[o];
    const uint64_t end = first + (active->columns - degree);
    size_t passed = 0;  // active columns before the one sought
    for (uint64_t rank = next_rank(&ranks, end); rank < end; rank = next_rank(&ranks, end)) {
      while (passed < degree && columns[passed] <= rank - first + passed) passed++;
      column_indices[n++] = (uint32_t)(rank - first + passed);
    }
    row_starts[o + 1] = n;
    first = end;
  }
  assert(n == count);
}
