#include <string.h>

#include "conv.h"

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/// Copies one row of one input channel into a padded row, whose every float it writes.
static void copy_row(const esp_conv_shape *shape, const esp_conv_plan *plan, const float *restrict in,
                     float *restrict out) {
  const size_t lanes = plan->lanes, dilation = shape->input_dilation;
  if (dilation == 1 && (plan->phase == 0 || shape->stride == 1)) {
    const size_t left = smaller(shape->pad_left * lanes, plan->row);
    const size_t middle = smaller(shape->in_width * lanes, plan->row - left);
    memset(out, 0, left * sizeof *out);
    memcpy(out + left, in, middle * sizeof *out);
    memset(out + left + middle, 0, (plan->row - left - middle) * sizeof *out);
    return;
  }
  memset(out, 0, plan->row * sizeof *out);
  const size_t width = plan->shape.in_width;
  for (size_t j = 0, at = shape->pad_left; j < shape->in_width && at < width; j++, at += dilation) {
    if (plan->phase) {
      out[at % shape->stride * plan->phase + at / shape->stride] = in[j];
    } else {
      memcpy(out + at * lanes, in + j * lanes, lanes * sizeof *out);
    }
  }
}

void esp_conv_copy_band(const esp_conv_shape *shape, const esp_conv_plan *plan, const float *restrict x,
                        size_t first_row, size_t rows, float *restrict band) {
  const size_t in_row = shape->in_width * plan->lanes, top = first_row * shape->stride;
  const size_t height = (rows - 1) * shape->stride + shape->kernel_height;
  for (size_t c = 0; c < shape->in_channels; c++) {
    const float *channel = x + c * shape->in_height * in_row;
    for (size_t r = 0; r < height; r++) {
      float *out = band + c * plan->plane + r * plan->row;
      const size_t below_top = top + r - shape->pad_top, i = below_top / shape->input_dilation;
      const int inside = top + r >= shape->pad_top && below_top % shape->input_dilation == 0 && i < shape->in_height;
      if (inside) {
        copy_row(shape, plan, channel + i * in_row, out);
      } else {
        memset(out, 0, plan->row * sizeof *out);
      }
    }
  }
}
