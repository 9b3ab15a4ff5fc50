#include <assert.h>
#include <string.h>

#include "random/philox.h"
#include "subset.h"

size_t esp_merge_unique(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count, uint64_t *restrict out) {
  size_t i = 0, j = 0, n = 0;
  while (i < a_count || j < b_count) {
    const int take_a = j == b_count || (i < a_count && a[i] <= b[j]);
    const uint64_t key = take_a ? a[i++] : b[j++];
    if (n == 0 || out[n - 1] != key) out[n++] = key;
  }
  return n;
}

// Each round draws exactly as many numbers as are missing, so the result is the
// set of the first `count` distinct numbers of one uniform sequence, and thus
// uniform: a round never has to choose what to throw away.
void esp_draw_distinct(esp_random_key key, uint64_t n, size_t count, uint64_t *restrict keys,
                       uint64_t *restrict workspace) {
  assert(count <= n);
  uint64_t drawn = 0;
  for (size_t have = 0; have < count;) {
    for (size_t i = have; i < count; i++) keys[i] = random_below(key, drawn++, n);
    esp_sort_u64(keys + have, count - have, workspace);
    have = esp_merge_unique(keys, have, keys + have, count - have, workspace);
    memcpy(keys, workspace, have * sizeof *keys);
  }
}
