#include <assert.h>
#include <string.h>

#include "../divide.h"
#include "conv.h"

/// A band fits in half of a second-level cache of 1 MiB, where one output row does.
static const size_t band_limit = 128 * 1024;

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/// Rows of padded input that `rows` output rows read.
static size_t input_rows(const esp_conv_shape *shape, size_t rows) {
  return (rows - 1) * shape->stride + shape->kernel_height;
}

static int needs_no_padding(const esp_conv_shape *shape) {
  return shape->pad_top == 0 && shape->pad_left == 0 && shape->input_dilation == 1 &&
         input_rows(shape, shape->out_height) <= shape->in_height &&
         (shape->out_width - 1) * shape->stride + shape->kernel_width <= shape->in_width;
}

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes) {
  esp_conv_plan plan = {.lanes = lanes, .band_rows = 1};
  plan.row = ((shape->out_width - 1) * shape->stride + shape->kernel_width) * lanes;
  const size_t limit = band_limit / (shape->in_channels * plan.row);  // input rows
  if (limit > shape->kernel_height) plan.band_rows += (limit - shape->kernel_height) / shape->stride;
  plan.band_rows = smaller(plan.band_rows, shape->out_height);
  plan.bands = (shape->out_height + plan.band_rows - 1) / plan.band_rows;
  plan.band_rows = (shape->out_height + plan.bands - 1) / plan.bands;
  if (needs_no_padding(shape)) {
    plan.in_place = 1;
    plan.row = shape->in_width * lanes;
    plan.plane = shape->in_height * plan.row;
  } else {
    plan.plane = input_rows(shape, plan.band_rows) * plan.row;
    plan.band_floats = (shape->in_channels * plan.plane + 15) / 16 * 16;
  }
  assert(shape->in_channels * plan.plane <= UINT32_MAX);
  return plan;
}

void esp_conv_offsets(const esp_csr *w, const esp_conv_shape *shape, const esp_conv_plan *plan, uint64_t first,
                      uint64_t last, uint32_t *restrict offsets) {
  const uint32_t width = (uint32_t)shape->kernel_width, height = (uint32_t)shape->kernel_height;
  const esp_divider by_width = esp_divider_make(width), by_height = esp_divider_make(height);
  for (uint64_t k = first; k < last; k++) {
    const uint32_t tap_row = esp_divide(w->column_indices[k], by_width);  // c * kernel_height + ky
    const uint32_t kx = w->column_indices[k] - tap_row * width;
    const uint32_t c = esp_divide(tap_row, by_height), ky = tap_row - c * height;
    offsets[k] = (uint32_t)(c * plan->plane + ky * plan->row + kx * plan->lanes);
  }
}

/// Copies row i of one input channel into a zeroed or unwritten padded row, whose every float it writes.
static void copy_row(const esp_conv_shape *shape, const esp_conv_plan *plan, const float *restrict in,
                     float *restrict out) {
  const size_t lanes = plan->lanes, left = smaller(shape->pad_left * lanes, plan->row);
  if (shape->input_dilation == 1) {
    const size_t middle = smaller(shape->in_width * lanes, plan->row - left);
    memset(out, 0, left * sizeof *out);
    memcpy(out + left, in, middle * sizeof *out);
    memset(out + left + middle, 0, (plan->row - left - middle) * sizeof *out);
    return;
  }
  memset(out, 0, plan->row * sizeof *out);
  const size_t step = shape->input_dilation * lanes;
  for (size_t j = 0; j < shape->in_width && left + j * step < plan->row; j++) {
    memcpy(out + left + j * step, in + j * lanes, lanes * sizeof *out);
  }
}

void esp_conv_copy_band(const esp_conv_shape *shape, const esp_conv_plan *plan, const float *restrict x,
                        size_t first_row, size_t rows, float *restrict band) {
  const size_t in_row = shape->in_width * plan->lanes, top = first_row * shape->stride;
  const size_t height = input_rows(shape, rows);
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
