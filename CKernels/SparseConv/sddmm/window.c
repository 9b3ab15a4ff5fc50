#include "conv_sddmm.h"

/// First output position of one axis whose input index, position * stride + tap - pad, is at least `bound`.
static size_t first_at_least(size_t bound, size_t stride, size_t tap, size_t pad) {
  return bound + pad > tap ? (bound + pad - tap + stride - 1) / stride : 0;
}

esp_tap_window esp_tap_window_make(const esp_conv_shape *shape, size_t ky, size_t kx, size_t first_row,
                                   size_t last_row) {
  esp_tap_window window = {
      .top = first_at_least(0, shape->stride, ky, shape->pad_top),
      .bottom = first_at_least(shape->in_height, shape->stride, ky, shape->pad_top),
      .left = first_at_least(0, shape->stride, kx, shape->pad_left),
      .right = first_at_least(shape->in_width, shape->stride, kx, shape->pad_left),
  };
  if (window.top < first_row) window.top = first_row;
  if (window.bottom > last_row) window.bottom = last_row;
  if (window.right > shape->out_width) window.right = shape->out_width;
  return window;
}
