#include <assert.h>

#include "../divide.h"
#include "conv.h"

enum {
  max_taps = esp_conv_max_taps * esp_conv_max_taps,
  words = esp_conv_max_runs * esp_conv_max_runs / 4,
  max_words_at_once = 2
};

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

static const esp_conv_run *row_run(const esp_conv_plan *plan, size_t pair) {
  return plan->rows.runs + pair / plan->columns.count;
}

static const esp_conv_run *column_run(const esp_conv_plan *plan, size_t pair) {
  return plan->columns.runs + pair % plan->columns.count;
}

/// Whether a pair's points meet the input through some taps only.
static int is_indexed(const esp_conv_plan *plan, size_t pair) {
  const uint32_t all_rows = (UINT32_C(1) << plan->shape.kernel_height) - 1;
  const uint32_t all_columns = (UINT32_C(1) << plan->shape.kernel_width) - 1;
  return !plan->padded && (row_run(plan, pair)->taps != all_rows || column_run(plan, pair)->taps != all_columns);
}

static size_t indexed_pairs(const esp_conv_plan *plan, size_t first, size_t last) {
  size_t count = 0;
  for (size_t pair = first; pair < last; pair++) count += (size_t)is_indexed(plan, pair);
  return count;
}

/// Floats that some connections of some channels take, with so many indexed pairs.
static size_t floats_of(size_t nnz, size_t channels, size_t indexed) {
  return 2 * nnz + indexed * channels + (indexed * nnz + 1) / 2;
}

size_t esp_conv_list_floats(const esp_conv_plan *plan, size_t nnz) {
  const esp_conv_shape *s = &plan->shape;
  const size_t rows = s->out_channels, columns = s->in_channels * s->kernel_height * s->kernel_width;
  const size_t indexed = indexed_pairs(plan, 0, esp_conv_pairs(plan));
  const size_t linear = 4 * (nnz + rows + columns), dense = rows * columns - 1;
  const size_t limit = larger(esp_conv_small, smaller(linear, dense));
  const size_t least = floats_of(smaller(nnz, columns), 1, smaller(indexed, 1));
  return larger(least, smaller(limit, floats_of(nnz, rows, indexed)));
}

/// The pairs from `first` on that a panel of these channels has room for.
static size_t last_pair(const esp_conv_plan *plan, size_t nnz, size_t channels, size_t first, size_t floats) {
  size_t last = first, indexed = 0;
  for (; last < esp_conv_pairs(plan); last++) {
    indexed += (size_t)is_indexed(plan, last);
    if (floats_of(nnz, channels, indexed) > floats) break;
  }
  return last;
}

esp_conv_lists esp_conv_next_panel(const esp_csr *w, const esp_conv_plan *plan, esp_conv_panel before, float *workspace,
                                   size_t floats) {
  const size_t pairs = esp_conv_pairs(plan), indexed = indexed_pairs(plan, 0, pairs);
  esp_conv_panel panel = before;
  if (before.last_pair < pairs) {
    panel.first_pair = before.last_pair;
  } else {
    panel = (esp_conv_panel){before.last, before.last + 1, 0, 0};
    const uint64_t *ends = w->row_starts + 1;
    while (panel.last < w->rows &&
           floats_of(ends[panel.last] - w->row_starts[panel.first], panel.last + 1 - panel.first, indexed) <= floats) {
      panel.last++;
    }
  }
  const size_t channels = panel.last - panel.first;
  const uint64_t base = w->row_starts[panel.first];
  const size_t nnz = w->row_starts[panel.last] - base;
  panel.last_pair = last_pair(plan, nnz, channels, panel.first_pair, floats);
  assert(panel.last_pair > panel.first_pair);
  esp_conv_entry *entries = (esp_conv_entry *)workspace;
  uint32_t *counts = (uint32_t *)(entries + nnz);
  uint16_t *indices = (uint16_t *)(counts + indexed_pairs(plan, panel.first_pair, panel.last_pair) * channels);
  return (esp_conv_lists){panel, base, nnz, entries, counts, indices};
}

/// Where the input of tap (ky, kx) lies, from where that of tap (0, 0) would.
static uint32_t tap_offset(const esp_conv_plan *plan, size_t ky, size_t kx) {
  const esp_conv_shape *s = &plan->shape;
  const size_t column =
      plan->phase ? kx % s->stride * plan->phase + kx / s->stride : kx / s->input_dilation * plan->lanes;
  return (uint32_t)(ky / s->input_dilation * plan->row + column);
}

static uint32_t first_tap(uint32_t taps) {
  return taps ? (uint32_t)__builtin_ctz(taps) : 0;
}

esp_conv_list esp_conv_list_of(const esp_csr *w, const esp_conv_plan *plan, const esp_conv_lists *lists, size_t pair) {
  esp_conv_list list = {w->row_starts, *lists, 0, NULL, NULL};
  list.skipped = tap_offset(plan, first_tap(row_run(plan, pair)->taps), first_tap(column_run(plan, pair)->taps));
  if (is_indexed(plan, pair)) {
    const size_t i = indexed_pairs(plan, lists->panel.first_pair, pair);
    list.counts = lists->counts + i * (lists->panel.last - lists->panel.first);
    list.indices = lists->indices + i * lists->nnz;
  }
  return list;
}

/// What tap a connection is of decides where its input lies and which indexed pairs it counts in: 1 in 16 bits for each
/// pair, four to a word. The last pair fills the last word.
typedef struct tap_table {
  size_t pairs;
  uint32_t offsets[max_taps];
  uint64_t counts[max_taps][words];
} tap_table;

static void make_table(const esp_conv_plan *plan, esp_conv_panel panel, tap_table *table) {
  const size_t width = plan->shape.kernel_width, taps = plan->shape.kernel_height * width;
  table->pairs = indexed_pairs(plan, panel.first_pair, panel.last_pair);
  for (size_t t = 0; t < taps; t++) {
    table->offsets[t] = tap_offset(plan, t / width, t % width);
    for (size_t i = 0; 4 * i < table->pairs; i++) table->counts[t][i] = 0;
    for (size_t pair = panel.first_pair, i = 0; pair < panel.last_pair; pair++) {
      if (!is_indexed(plan, pair)) continue;
      const uint64_t meets = row_run(plan, pair)->taps >> t / width & column_run(plan, pair)->taps >> t % width & 1;
      do table->counts[t][i / 4] |= meets << i % 4 * 16;
      while (++i >= table->pairs && i % 4);
    }
  }
}

/// The entries and taps of `count` connections.
static void make_entries(const uint32_t *columns, const float *values, size_t count, const esp_conv_plan *plan,
                         const tap_table *table, esp_conv_entry *restrict entries, uint8_t *restrict taps) {
  const uint32_t plane = (uint32_t)plan->plane;
  const esp_divider by_taps = esp_divider_make((uint32_t)(plan->shape.kernel_height * plan->shape.kernel_width));
  for (size_t k = 0; k < count; k++) {
    const uint32_t channel = esp_divide(columns[k], by_taps), tap = columns[k] - channel * by_taps.divisor;
    entries[k] = (esp_conv_entry){channel * plane + table->offsets[tap], values[k]};
    taps[k] = (uint8_t)tap;
  }
}

/// The same, of a kernel of any size.
static void make_large_entries(const uint32_t *columns, const float *values, size_t count, const esp_conv_plan *plan,
                               esp_conv_entry *restrict entries) {
  const size_t width = plan->shape.kernel_width, taps = plan->shape.kernel_height * width;
  for (size_t k = 0; k < count; k++) {
    const size_t channel = columns[k] / taps, tap = columns[k] % taps;
    entries[k].offset = (uint32_t)(channel * plan->plane) + tap_offset(plan, tap / width, tap % width);
    entries[k].value = values[k];
  }
}

/// Adds the connections [first, first + count) of a channel to its indices for `n` words of pairs, each beginning
/// `stride` behind the one before; `counts` says how many there are already.
__attribute__((always_inline)) static inline void add_indices(const size_t n, const tap_table *table,
                                                              const uint8_t *taps, size_t first, size_t count,
                                                              size_t word, size_t stride, uint64_t *restrict counts,
                                                              uint16_t *restrict indices) {
  uint16_t *out[4 * max_words_at_once];
  uint64_t sums[max_words_at_once];
  for (size_t l = 0; l < 4 * n; l++) out[l] = indices + smaller(4 * word + l, table->pairs - 1) * stride;
  for (size_t i = 0; i < n; i++) sums[i] = counts[word + i];
  for (size_t k = 0; k < count; k++) {
    // Written over by the next where it does not count: index k of a list exists while its count <= k.
    const uint16_t index = (uint16_t)(first + k);
    for (size_t i = 0; i < n; i++) {
      out[4 * i][sums[i] & UINT16_MAX] = index;
      out[4 * i + 1][sums[i] >> 16 & UINT16_MAX] = index;
      out[4 * i + 2][sums[i] >> 32 & UINT16_MAX] = index;
      out[4 * i + 3][sums[i] >> 48] = index;
      sums[i] += table->counts[taps[k]][word + i];
    }
  }
  for (size_t i = 0; i < n; i++) counts[word + i] = sums[i];
}

/// The lists of one channel.
static void make_channel(const esp_csr *w, const float *values, const esp_conv_plan *plan, const esp_conv_lists *lists,
                         const tap_table *table, size_t o) {
  enum { chunk = 256 };
  uint8_t taps[chunk];
  uint64_t counts[words] = {0};
  const uint64_t start = w->row_starts[o], end = w->row_starts[o + 1];
  uint16_t *indices = lists->indices + (start - lists->base);
  const size_t channels = lists->panel.last - lists->panel.first, all = (table->pairs + 3) / 4;
  for (uint64_t k = start; k < end; k += chunk) {
    const size_t count = smaller(chunk, end - k);
    make_entries(w->column_indices + k, values + k, count, plan, table, lists->entries + (k - lists->base), taps);
    size_t word = 0;
    for (; word + 2 <= all; word += 2) {
      add_indices(2, table, taps, k - start, count, word, lists->nnz, counts, indices);
    }
    if (word < all) add_indices(1, table, taps, k - start, count, word, lists->nnz, counts, indices);
  }
  for (size_t l = 0; l < table->pairs; l++) {
    lists->counts[l * channels + o - lists->panel.first] = counts[l / 4] >> l % 4 * 16 & UINT16_MAX;
  }
}

void esp_conv_make_lists(const esp_csr *w, const float *values, const esp_conv_plan *plan, const esp_conv_lists *lists,
                         size_t first, size_t last) {
  if (first == last) return;
  if (plan->shape.kernel_height * plan->shape.kernel_width > max_taps) {
    const uint64_t start = w->row_starts[first], count = w->row_starts[last] - start;
    make_large_entries(w->column_indices + start, values + start, count, plan, lists->entries + (start - lists->base));
    return;
  }
  tap_table table;
  make_table(plan, lists->panel, &table);
  for (size_t o = first; o < last; o++) make_channel(w, values, plan, lists, &table, o);
}
