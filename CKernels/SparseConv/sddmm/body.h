// The sampled weight gradient over one tile, written over the vocabulary that the including file chose.
#include "conv_sddmm.h"

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

enum { accumulators = 2 };

/// Adds up the products of one row's D with the windows of `count` connections; each has two accumulators, whose turn
/// depends on the place in the row alone. `next` is what to fetch into the second-level cache meanwhile, or null.
ESP_VEC void row_products(const size_t count, const int fetch, const size_t floats, const float *d,
                          const float *const x[], size_t at, size_t ahead, esp_vec sum[][accumulators]) {
  const size_t step = accumulators * esp_vec_floats, whole = floats / step * step;
  size_t i = 0;
  for (; i < whole; i += step) {
    if (fetch) {
      ESP_UNROLL for (size_t line = 0; line < step; line += 16) __builtin_prefetch(d + ahead + i + line, 0, 2);
    }
    ESP_UNROLL for (size_t u = 0; u < accumulators; u++) {
      const esp_vec delta = esp_vec_load(d + i + u * esp_vec_floats);
      ESP_UNROLL for (size_t c = 0; c < count; c++) {
        sum[c][u] = esp_vec_fma(delta, esp_vec_load(x[c] + at + i + u * esp_vec_floats), sum[c][u]);
      }
    }
  }
  for (; i + esp_vec_floats <= floats; i += esp_vec_floats) {
    const esp_vec delta = esp_vec_load(d + i);
    ESP_UNROLL for (size_t c = 0; c < count; c++) {
      sum[c][0] = esp_vec_fma(delta, esp_vec_load(x[c] + at + i), sum[c][0]);
    }
  }
  if (i < floats) {
    const esp_vec delta = esp_vec_load_first(d + i, floats - i);
    ESP_UNROLL for (size_t c = 0; c < count; c++) {
      sum[c][1] = esp_vec_fma(delta, esp_vec_load_first(x[c] + at + i, floats - i), sum[c][1]);
    }
  }
}

/// result[c] := the products of `count` connections from k on, which share the output channel whose D is `d`, summed
/// over the tile.
ESP_VEC void window_products_of(const size_t count, const int fetch, const size_t floats,
                                const esp_conv_sddmm_tile *tile, const float *d, uint64_t k, size_t ahead,
                                esp_vec *result) {
  esp_vec sum[8][accumulators];
  const float *x[8];
  ESP_UNROLL for (size_t c = 0; c < count; c++) {
    x[c] = tile->x + tile->offsets[k + c];
    ESP_UNROLL for (size_t u = 0; u < accumulators; u++) sum[c][u] = esp_vec_zero();
  }
  for (size_t s = 0; s < tile->segments; s++) {
    const float *row = d + s * tile->d_segment;
    size_t at = s * tile->x_segment;
    for (size_t r = 0; r < tile->rows; r++, row += tile->d_row, at += tile->x_row) {
      row_products(count, fetch, floats, row, x, at, ahead, sum);
    }
  }
  ESP_UNROLL for (size_t c = 0; c < count; c++) result[c] = esp_vec_add(sum[c][0], sum[c][1]);
}

ESP_VEC void window_products(const size_t count, const size_t floats, const esp_conv_sddmm_tile *tile, const float *d,
                             uint64_t k, size_t ahead, esp_vec *result) {
  if (ahead > 0) {
    window_products_of(count, 1, floats, tile, d, k, ahead, result);
  } else {
    window_products_of(count, 0, floats, tile, d, k, 0, result);
  }
}

/// The same for up to `most` connections at a time; returns how many.
ESP_VEC size_t some_products(const size_t most, const size_t floats, const esp_conv_sddmm_tile *tile, const float *d,
                             uint64_t k, uint64_t end, size_t ahead, esp_vec *result) {
  if (most > 4 && end - k >= most) {
    window_products(most, floats, tile, d, k, ahead, result);
    return most;
  }
  switch (end - k) {
    case 1:
      window_products(1, floats, tile, d, k, ahead, result);
      return 1;
    case 2:
      window_products(2, floats, tile, d, k, ahead, result);
      return 2;
    case 3:
      window_products(3, floats, tile, d, k, ahead, result);
      return 3;
    default:
      window_products(4, floats, tile, d, k, ahead, result);
      return 4;
  }
}

/// Products that wait to be summed over their elements, and their connections.
typedef struct pending {
  size_t count;
  esp_vec products[esp_vec_floats + 8];
  uint64_t connections[esp_vec_floats + 8];
} pending;

/// Sums the elements of the first products, a vector full of them, and keeps the others.
ESP_VEC void flush(pending *wait, int accumulate, float *restrict g) {
  const size_t count = wait->count < esp_vec_floats ? wait->count : esp_vec_floats;
  for (size_t i = count; i < esp_vec_floats; i++) wait->products[i] = esp_vec_zero();
  float sum[esp_vec_floats];
  esp_vec_store(sum, esp_vec_reduce(wait->products));
  for (size_t i = 0; i < count; i++) {
    float *to = g + wait->connections[i];
    *to = accumulate ? *to + sum[i] : sum[i];
  }
  wait->count -= count;
  for (size_t i = 0; i < wait->count; i++) {
    wait->products[i] = wait->products[esp_vec_floats + i];
    wait->connections[i] = wait->connections[esp_vec_floats + i];
  }
}

ESP_VEC void tile_connections(const size_t most, const size_t floats, const esp_conv_sddmm_tile *tile, uint64_t first,
                              uint64_t last, float *restrict g) {
  const esp_csr *pattern = tile->pattern;
  const int all = tile->first_column == 0 && tile->last_column >= pattern->columns;
  pending wait;
  wait.count = 0;
  for (size_t o = esp_csr_row_of(pattern, first); o < pattern->rows && pattern->row_starts[o] < last; o++) {
    uint64_t k = pattern->row_starts[o], end = pattern->row_starts[o + 1];
    if (!all) {
      k = esp_conv_sddmm_seek(pattern, k, end, tile->first_column);
      end = esp_conv_sddmm_seek(pattern, k, end, tile->last_column);
    }
    if (k < first) k = first;
    if (end > last) end = last;
    size_t ahead = o + 1 < pattern->rows ? tile->d_channel : 0;
    while (k < end) {
      const size_t count =
          some_products(most, floats, tile, tile->d + o * tile->d_channel, k, end, ahead, wait.products + wait.count);
      for (size_t i = 0; i < count; i++) wait.connections[wait.count + i] = k + i;
      wait.count += count;
      k += count;
      ahead = 0;
      while (wait.count >= esp_vec_floats) flush(&wait, tile->accumulate, g);
    }
  }
  while (wait.count > 0) flush(&wait, tile->accumulate, g);
}

/// Small planes' rows of 64 and 128 floats have loops of their own, without branches in a row.
ESP_VEC void tile_connections_of_length(const size_t most, const esp_conv_sddmm_tile *tile, uint64_t first,
                                        uint64_t last, float *restrict g) {
  if (first == last) return;
  switch (tile->floats) {
    case 64:
      tile_connections(most, 64, tile, first, last, g);
      break;
    case 128:
      tile_connections(most, 128, tile, first, last, g);
      break;
    default:
      tile_connections(most, tile->floats, tile, first, last, g);
  }
}
