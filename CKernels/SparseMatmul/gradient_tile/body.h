#include "gradient_tile.h"

// A tile of the whole weight gradient over the words of CKernels/Runtime/vector, one of which is included before.
//
// The inputs of a panel of columns are transposed into a buffer [samples, columns] of 8 or 32 KB that stays close
// by for all rows of the tile. There vectors run along columns: a number of the output's gradient, read once, serves a
// panel, and nothing is summed across a vector. An element's products are added in the order of samples, wherever its
// column lies in a panel.

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

enum {
  esp_tile_rows = 4,                                   // at a time
  esp_tile_vectors = esp_vec_registers == 32 ? 4 : 2,  // of columns in a panel: with the rows, half of the registers
  esp_tile_width = esp_tile_vectors * esp_vec_floats,  // columns in a panel
  esp_tile_depth = 128                                 // samples in a panel
};

/// panel [blocks * lanes, width] := the inputs of `columns` columns from `x` on, transposed; zeros beyond them.
ESP_VEC void esp_tile_pack(const esp_gradient_tile *t, size_t blocks, const float *restrict x, size_t columns,
                           float *restrict panel) {
  const size_t lanes = t->lanes;
  for (size_t b = 0; b < blocks; b++, x += t->x_features * lanes, panel += lanes * esp_tile_width) {
    for (size_t c = 0; c < esp_tile_width; c += esp_vec_floats) {
      const size_t left = c < columns ? columns - c : 0, count = left < esp_vec_floats ? left : esp_vec_floats;
      if (lanes == 1) {
        esp_vec_store(panel + c, count == esp_vec_floats ? esp_vec_load(x + c) : esp_vec_load_first(x + c, count));
        continue;
      }
      for (size_t l = 0; l < lanes; l += esp_vec_floats) {
        esp_vec v[esp_vec_floats];
        for (size_t i = 0; i < esp_vec_floats; i++) {
          v[i] = i < count ? esp_vec_load(x + (c + i) * lanes + l) : esp_vec_zero();
        }
        esp_vec_transpose(v);
        for (size_t j = 0; j < esp_vec_floats; j++) esp_vec_store(panel + (l + j) * esp_tile_width + c, v[j]);
      }
    }
  }
}

/// g [rows, columns of the panel] := or += the products of the panel with the gradients at d of `rows` rows.
ESP_VEC void esp_tile_multiply(const size_t rows, const esp_gradient_tile *t, size_t blocks,
                               const float *restrict panel, const float *restrict d, size_t columns, int accumulate,
                               float *restrict g) {
  const size_t lanes = t->lanes;
  esp_vec sums[esp_tile_rows][esp_tile_vectors];
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    ESP_UNROLL for (size_t v = 0; v < esp_tile_vectors; v++) sums[r][v] = esp_vec_zero();
  }
  for (size_t b = 0; b < blocks; b++, d += t->d_features * lanes) {
    for (size_t l = 0; l < lanes; l++, panel += esp_tile_width) {
      esp_vec input[esp_tile_vectors];
      ESP_UNROLL for (size_t v = 0; v < esp_tile_vectors; v++) input[v] = esp_vec_load(panel + v * esp_vec_floats);
      ESP_UNROLL for (size_t r = 0; r < rows; r++) {
        const esp_vec delta = esp_vec_set(d[r * lanes + l]);
        ESP_UNROLL for (size_t v = 0; v < esp_tile_vectors; v++) sums[r][v] = esp_vec_fma(delta, input[v], sums[r][v]);
      }
    }
  }
  ESP_UNROLL for (size_t r = 0; r < rows; r++) {
    float *row = g + r * t->g_columns, part[esp_tile_width];
    float *to = columns == esp_tile_width ? row : part;
    if (to == part && accumulate) {
      for (size_t c = 0; c < esp_tile_width; c++) part[c] = c < columns ? row[c] : 0;
    }
    ESP_UNROLL for (size_t v = 0; v < esp_tile_vectors; v++) {
      float *at = to + v * esp_vec_floats;
      esp_vec_store(at, accumulate ? esp_vec_add(esp_vec_load(at), sums[r][v]) : sums[r][v]);
    }
    for (size_t c = 0; to == part && c < columns; c++) row[c] = part[c];
  }
}

/// Columns [first, last), for lanes of 1 or of whole vectors.
ESP_VEC void esp_tile_columns(const esp_gradient_tile *t, int accumulate, size_t first, size_t last) {
  _Alignas(64) float panel[esp_tile_depth * esp_tile_width];
  const size_t at_once = esp_tile_depth / t->lanes;
  for (size_t c = first; c < last; c += esp_tile_width) {
    const size_t columns = last - c < esp_tile_width ? last - c : esp_tile_width;
    for (size_t b = 0; b < t->blocks; b += at_once) {
      const size_t blocks = t->blocks - b < at_once ? t->blocks - b : at_once;
      const float *d = t->d + b * t->d_features * t->lanes;
      const int adds = accumulate || b > 0;
      esp_tile_pack(t, blocks, t->x + (b * t->x_features + c) * t->lanes, columns, panel);
      size_t r = 0;
      for (; r + esp_tile_rows <= t->rows; r += esp_tile_rows) {
        esp_tile_multiply(esp_tile_rows, t, blocks, panel, d + r * t->lanes, columns, adds,
                          t->g + r * t->g_columns + c);
      }
      for (; r < t->rows; r++) {
        esp_tile_multiply(1, t, blocks, panel, d + r * t->lanes, columns, adds, t->g + r * t->g_columns + c);
      }
    }
  }
}
