#include "conv_sddmm.h"

/// Sum of D * X over one connection's window; d points to the output channel's start.
static float window_sum(const esp_conv_sddmm_tile *tile, const float *restrict d, esp_conv_sddmm_place at) {
  const size_t floats = at.window->floats, run = tile->lanes > 0 ? tile->lanes : floats;
  float sum = 0;
  for (size_t s = 0; s < tile->segments; s++) {
    for (size_t r = 0; r < at.window->rows; r++) {
      const float *delta = d + at.window->d + s * tile->d_segment + r * tile->d_row;
      const float *input = at.x + at.window->x + s * tile->x_segment + r * tile->x_row;
      for (size_t i = 0; i < floats; i += run, input += tile->x_step) {
        for (size_t l = 0; l < run; l++) sum += delta[i + l] * input[l];
      }
    }
  }
  return sum;
}

void esp_conv_sddmm_connections_scalar(const esp_conv_sddmm_tile *tile, uint64_t first, uint64_t last,
                                       float *restrict g) {
  if (first == last) return;
  size_t o = esp_csr_row_of(tile->pattern, first);
  for (uint64_t k = first; k < last; k++) {
    while (k >= tile->pattern->row_starts[o + 1]) o++;
    const uint32_t column = tile->pattern->column_indices[k];
    if (column < tile->first_column || column >= tile->last_column) continue;
    const float sum = window_sum(tile, tile->d + o * tile->d_channel, esp_conv_sddmm_place_of(tile, k));
    g[k] = tile->accumulate ? g[k] + sum : sum;
  }
}
