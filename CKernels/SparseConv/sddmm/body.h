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

/// The same for a row of one connection's window in an input that is read in place, `vectors` a position: a vector of
/// each of in_place_sums accumulators comes from as many neighbouring positions as have them.
enum { in_place_sums = 8 };

ESP_VEC void row_in_place(const size_t vectors, size_t floats, const float *d, const float *x, size_t x_step,
                          esp_vec *sum) {
  const size_t positions = in_place_sums / vectors, lanes = vectors * esp_vec_floats, step = positions * lanes;
  size_t i = 0;
  for (; i + step <= floats; i += step, x += positions * x_step) {
    ESP_UNROLL for (size_t u = 0; u < in_place_sums; u++) {
      const esp_vec input = esp_vec_load(x + u / vectors * x_step + u % vectors * esp_vec_floats);
      sum[u] = esp_vec_fma(esp_vec_load(d + i + u * esp_vec_floats), input, sum[u]);
    }
  }
  ESP_UNROLL for (size_t p = 0; p + 1 < positions; p++) {
    if (i + p * lanes >= floats) break;
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const esp_vec delta = esp_vec_load(d + i + p * lanes + v * esp_vec_floats);
      sum[p * vectors + v] =
          esp_vec_fma(delta, esp_vec_load(x + p * x_step + v * esp_vec_floats), sum[p * vectors + v]);
    }
  }
}

/// The products of connection k, whose output channel's D is `d`, summed over a tile that is read in place.
ESP_VEC esp_vec products_in_place(const size_t vectors, const esp_conv_sddmm_tile *tile, const float *d, uint64_t k) {
  const esp_conv_sddmm_place at = esp_conv_sddmm_place_of(tile, k);
  const size_t rows = at.window->rows, floats = at.window->floats;
  esp_vec sum[in_place_sums];
  ESP_UNROLL for (size_t u = 0; u < in_place_sums; u++) sum[u] = esp_vec_zero();
  for (size_t s = 0; s < tile->segments; s++) {
    const float *delta = d + at.window->d + s * tile->d_segment, *x = at.x + at.window->x + s * tile->x_segment;
    for (size_t r = 0; r < rows; r++, delta += tile->d_row, x += tile->x_row) {
      row_in_place(vectors, floats, delta, x, tile->x_step, sum);
    }
  }
  ESP_UNROLL for (size_t half = in_place_sums / 2; half >= 1; half /= 2) {
    ESP_UNROLL for (size_t u = 0; u < half; u++) sum[u] = esp_vec_add(sum[u], sum[u + half]);
  }
  return sum[0];
}

/// result[c] := the products of `count` connections from k on, which share the output channel whose D is `d`, summed
/// over the tile.
ESP_VEC void window_products_of(const size_t count, const int fetch, const size_t floats,
                                const esp_conv_sddmm_tile *tile, const float *d, uint64_t k, size_t ahead,
                                esp_vec *result) {
  const size_t rows = tile->windows->rows;
  esp_vec sum[8][accumulators];
  const float *x[8];
  ESP_UNROLL for (size_t c = 0; c < count; c++) {
    const esp_conv_sddmm_place at = esp_conv_sddmm_place_of(tile, k + c);
    x[c] = at.x + at.window->x;
    ESP_UNROLL for (size_t u = 0; u < accumulators; u++) sum[c][u] = esp_vec_zero();
  }
  for (size_t s = 0; s < tile->segments; s++) {
    const float *row = d + s * tile->d_segment;
    size_t at = s * tile->x_segment;
    for (size_t r = 0; r < rows; r++, row += tile->d_row, at += tile->x_row) {
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

/// The same for up to `most` connections at a time, or for one where X is read in place, `vectors` a position; returns
/// how many.
ESP_VEC size_t some_products(const size_t most, const size_t vectors, const size_t floats,
                             const esp_conv_sddmm_tile *tile, const float *d, uint64_t k, uint64_t end, size_t ahead,
                             esp_vec *result) {
  if (vectors > 0) {
    result[0] = products_in_place(vectors > 0 ? vectors : 1, tile, d, k);
    return 1;
  }
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

ESP_VEC void tile_connections(const size_t most, const size_t vectors, const size_t floats,
                              const esp_conv_sddmm_tile *tile, uint64_t first, uint64_t last, float *restrict g) {
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
      const size_t count = some_products(most, vectors, floats, tile, tile->d + o * tile->d_channel, k, end, ahead,
                                         wait.products + wait.count);
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
  if (tile->lanes == 32) {
    tile_connections(most, 32 / esp_vec_floats, 0, tile, first, last, g);
  } else if (tile->lanes == 16) {
    tile_connections(most, 16 / esp_vec_floats, 0, tile, first, last, g);
  } else if (tile->windows->floats == 64) {
    tile_connections(most, 0, 64, tile, first, last, g);
  } else if (tile->windows->floats == 128) {
    tile_connections(most, 0, 128, tile, first, last, g);
  } else {
    tile_connections(most, 0, tile->windows->floats, tile, first, last, g);
  }
}
