#include "conv_sddmm.h"

/// Sum of D * X over one connection's window.
static float window_sum(const esp_conv_shape *shape, size_t lanes, esp_tap_window window, size_t ky, size_t kx,
                        const float *restrict x, const float *restrict d) {
  float sum = 0;
  for (size_t i = window.top; i < window.bottom; i++) {
    for (size_t j = window.left; j < window.right; j++) {
      const size_t in_i = i * shape->stride + ky - shape->pad_top, in_j = j * shape->stride + kx - shape->pad_left;
      const float *delta = d + (i * shape->out_width + j) * lanes;
      const float *input = x + (in_i * shape->in_width + in_j) * lanes;
      for (size_t l = 0; l < lanes; l++) sum += delta[l] * input[l];
    }
  }
  return sum;
}

void esp_conv_sddmm_connections_scalar(const esp_csr *pattern, const esp_conv_shape *shape, size_t lanes,
                                       size_t first_row, size_t last_row, const float *restrict x,
                                       const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                       uint64_t last) {
  if (first == last) return;
  size_t o = esp_csr_row_of(pattern, first);
  for (uint64_t k = first; k < last; k++) {
    while (k >= pattern->row_starts[o + 1]) o++;
    const size_t tap_row = pattern->column_indices[k] / shape->kernel_width;
    const size_t kx = pattern->column_indices[k] % shape->kernel_width;
    const size_t ky = tap_row % shape->kernel_height, c = tap_row / shape->kernel_height;
    const esp_tap_window window = esp_tap_window_make(shape, ky, kx, first_row, last_row);
    const float sum = window_sum(shape, lanes, window, ky, kx, x + c * shape->in_height * shape->in_width * lanes,
                                 d + o * shape->out_height * shape->out_width * lanes);
    g[k] = accumulate ? g[k] + sum : sum;
  }
}
