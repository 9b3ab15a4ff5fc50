#include <string.h>

#include "conv.h"

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

esp_conv_rows esp_conv_rows_read(const esp_conv_plan *plan, size_t first, size_t last) {
  const esp_conv_shape *s = &plan->shape;
  const size_t top = first * s->stride, bottom = (last - 1) * s->stride + s->kernel_height, d = s->input_dilation;
  const size_t above = top > s->pad_top ? top - s->pad_top : 0, below = bottom > s->pad_top ? bottom - s->pad_top : 0;
  const size_t end = smaller((below + d - 1) / d, s->in_height);
  return (esp_conv_rows){smaller((above + d - 1) / d, end), end};
}

/// Copies one row of one input channel into a padded row, whose every float it writes.
static void copy_padded_row(const esp_conv_plan *plan, const float *restrict in, float *restrict out) {
  const esp_conv_shape *image = &plan->image;
  const size_t lanes = plan->lanes, width = plan->shape.in_width, dilation = image->input_dilation;
  if (dilation == 1 && (plan->phase == 0 || image->stride == 1)) {
    const size_t left = smaller(image->pad_left, width), middle = smaller(image->in_width, width - left);
    memset(out, 0, left * lanes * sizeof *out);
    memcpy(out + left * lanes, in, middle * lanes * sizeof *out);
    memset(out + (left + middle) * lanes, 0, (width - left - middle) * lanes * sizeof *out);
    return;
  }
  memset(out, 0, width * lanes * sizeof *out);
  for (size_t j = 0, at = image->pad_left; j < image->in_width && at < width; j++, at += dilation) {
    if (plan->phase) {
      out[at % image->stride * plan->phase + at / image->stride] = in[j];
    } else {
      memcpy(out + at * lanes, in + j * lanes, lanes * sizeof *out);
    }
  }
}

static void copy_padded(const esp_conv_plan *plan, const float *restrict channel, esp_conv_rows rows,
                        float *restrict out) {
  const esp_conv_shape *image = &plan->image;
  for (size_t r = rows.first; r < rows.last; r++) {
    const size_t below_top = r - image->pad_top, i = below_top / image->input_dilation;
    float *row = out + (r - rows.first) * plan->row;
    if (r >= image->pad_top && below_top % image->input_dilation == 0 && i < image->in_height) {
      copy_padded_row(plan, channel + i * image->in_width * plan->lanes, row);
    } else {
      memset(row, 0, plan->shape.in_width * plan->lanes * sizeof *row);
    }
  }
}

void esp_conv_copy_band(const esp_conv_plan *plan, const float *restrict x, esp_conv_rows rows, float *restrict band) {
  const size_t row = plan->image.in_width * plan->lanes;
  for (size_t c = 0; c < plan->image.in_channels; c++) {
    const float *channel = x + c * plan->image.in_height * row;
    float *out = band + c * plan->plane;
    if (plan->padded) {
      copy_padded(plan, channel, rows, out);
    } else if (plan->row == row) {
      memcpy(out, channel + rows.first * row, (rows.last - rows.first) * row * sizeof *out);
    } else {
      for (size_t r = rows.first; r < rows.last; r++) {
        memcpy(out + (r - rows.first) * plan->row, channel + r * row, row * sizeof *out);
      }
    }
  }
}
