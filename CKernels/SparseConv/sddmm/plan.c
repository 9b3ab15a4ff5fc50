#include <assert.h>
#include <string.h>

#include "../divide.h"
#include "conv_sddmm.h"

/// Floats of a tile's input that fit in half of a second-level cache, and of one channel's D that fit in half of a
/// first-level cache; and how many of the latter are worth the cost of starting on a connection.
static const size_t input_limit = 256 * 1024, delta_limit = 8 * 1024, delta_least = 512;

/// How often a pixel must be used for its copy to pay; sooner where channels are so large (often a power of two) that
/// many of them share a few lines of the caches, while the copy's rows lie close together.
static const size_t least_uses = 14, least_uses_if_large = 5, large_channel = 16 * 1024;

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

static size_t quotient_up(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/// Columns (or rows) of a phase: those that `outputs` neighbouring outputs read, of which the last ones may lie in the
/// next row's left padding where they are beyond the image; at least the outputs, for D's copy has as many.
static size_t phase_length(size_t outputs, size_t kernel, size_t stride, size_t pad, size_t in) {
  const size_t read = outputs + (kernel - 1) / stride;
  const size_t unshared = larger(outputs, read - smaller(read, pad / stride));
  return larger(smaller(read, (pad + in - 1) / stride + 1), unshared);
}

/// Output rows of a band and input channels of a chunk, of which x_row floats are read for one output row: a band is as
/// high as keeps all of its input and one channel's D in their caches, but high enough for delta_least floats and for
/// little overlap of the input; then so many channels.
static void choose_band(esp_conv_sddmm_plan *plan, const esp_conv_shape *shape, size_t x_row) {
  const size_t d_row = plan->width * plan->lanes, halo = (shape->kernel_height - 1) / shape->stride;
  const size_t fitting = input_limit / (shape->in_channels * x_row);
  const size_t rows = smaller(delta_limit / d_row, fitting > halo ? fitting - halo : 0);
  const size_t least = larger(quotient_up(delta_least, d_row), 2 * halo);
  plan->bands = quotient_up(plan->height, smaller(larger(larger(rows, least), 1), plan->height));
  plan->band_rows = quotient_up(plan->height, plan->bands);
  plan->bands = quotient_up(plan->height, plan->band_rows);
  const size_t channels = larger(input_limit / ((plan->band_rows + halo) * x_row), 1);
  plan->chunks = quotient_up(shape->in_channels, channels);
  plan->chunk = quotient_up(shape->in_channels, plan->chunks);
  plan->chunks = quotient_up(shape->in_channels, plan->chunk);
}

/// Blocks of a tile: as many as fit where one has room for more, but not all, so that two threads can share them.
static size_t choose_group(const esp_conv_sddmm_plan *plan, size_t blocks) {
  if (plan->bands > 1 || plan->chunks > 1) return 1;
  const size_t fitting = smaller(input_limit / plan->segment, delta_limit / (plan->height * plan->width * plan->lanes));
  return larger(smaller(fitting, blocks / 2), 1);
}

/// The phases of the input's copy, and a thread's workspace for it.
static void choose_copy(esp_conv_sddmm_plan *plan, const esp_conv_shape *shape) {
  const size_t stride = shape->stride;
  plan->pointwise = plan->taps == 1 && stride == 1 && shape->pad_top == 0 && shape->pad_left == 0 &&
                    shape->in_height == shape->out_height && shape->in_width == shape->out_width;
  if (plan->pointwise) {
    plan->height = plan->in_height = shape->in_height * shape->in_width;
    plan->width = plan->in_width = 1;
  }
  plan->row = plan->lanes * phase_length(plan->width, shape->kernel_width, stride, shape->pad_left, plan->in_width);
  choose_band(plan, shape, plan->row * plan->row_phases * plan->col_phases);
  const size_t rows = plan->bands == 1
                          ? phase_length(plan->height, shape->kernel_height, stride, shape->pad_top, plan->in_height)
                          : plan->band_rows + (shape->kernel_height - 1) / stride;
  plan->plane = rows * plan->row;
  plan->channel = plan->plane * plan->row_phases * plan->col_phases;
  // Behind the last channel lies the padding that its last rows overhang into.
  plan->segment = plan->chunk * plan->channel + shape->pad_top * plan->row + (shape->pad_left + 1) * plan->lanes;
  plan->segment = quotient_up(plan->segment, 16) * 16;
}

static void choose_in_place(esp_conv_sddmm_plan *plan, const esp_conv_shape *shape) {
  plan->row = shape->stride * plan->in_width * plan->lanes;
  choose_band(plan, shape, plan->row);
  plan->channel = plan->in_height * plan->in_width * plan->lanes;
  plan->segment = shape->in_channels * plan->channel;
}

/// At most four, and fewer where they would take as much as a dense weight matrix that is not small.
static size_t choose_partial_sums(const esp_conv_shape *shape, uint64_t nnz, size_t units) {
  const size_t taps = shape->kernel_height * shape->kernel_width;
  const size_t dense = shape->out_channels * shape->in_channels * taps;
  size_t sums = larger(smaller(units, 4), 1);
  if (dense > 16 * 1024) {
    while (sums > 1 && (sums - 1) * nnz >= dense) sums--;
  }
  return sums;
}

esp_conv_sddmm_plan esp_conv_sddmm_plan_make(const esp_conv_shape *shape, uint64_t nnz, size_t blocks, size_t lanes) {
  const size_t stride = shape->stride, taps = shape->kernel_height * shape->kernel_width;
  esp_conv_sddmm_plan plan = {
      .lanes = lanes,
      .width = shape->out_width,
      .height = shape->out_height,
      .taps = taps,
      .row_phases = smaller(stride, shape->kernel_height),
      .col_phases = smaller(stride, shape->kernel_width),
      .in_height = shape->in_height,
      .in_width = shape->in_width,
      .tap_floats = taps * (sizeof(esp_conv_sddmm_window) / sizeof(float)),
  };
  choose_in_place(&plan, shape);
  const size_t least = plan.channel < large_channel ? least_uses : least_uses_if_large;
  plan.in_place = lanes >= 16 && nnz < least * shape->in_channels * stride * stride;
  if (!plan.in_place) choose_copy(&plan, shape);
  plan.group = choose_group(&plan, blocks);
  plan.units = quotient_up(blocks, plan.group) * plan.bands;
  plan.partial_sums = choose_partial_sums(shape, nnz, plan.units);
  plan.x_floats = plan.in_place ? 0 : plan.group * plan.segment;
  plan.d_row = plan.width * lanes;
  if (!plan.in_place && lanes < 32 && plan.d_row < 128 && plan.d_row != plan.row) {
    plan.d_row = plan.row;
    plan.d_floats = quotient_up(plan.group * shape->out_channels * plan.band_rows * plan.row, 16) * 16;
  }
  assert(plan.channel <= UINT32_MAX && plan.height * plan.d_row <= UINT32_MAX);
  return plan;
}

/// Output positions [first, last) along one axis whose input for one tap lies inside the image.
typedef struct axis_window {
  size_t first, last;
} axis_window;

static size_t first_at_least(size_t bound, size_t stride, size_t tap, size_t pad) {
  return bound + pad > tap ? quotient_up(bound + pad - tap, stride) : 0;
}

/// Of the positions [first, last); empty where first == last.
static axis_window axis_window_make(size_t first, size_t last, size_t in, size_t stride, size_t tap, size_t pad) {
  const axis_window window = {larger(first, first_at_least(0, stride, tap, pad)),
                              smaller(last, first_at_least(in, stride, tap, pad))};
  return window.first < window.last ? window : (axis_window){first, first};
}

/// The window of tap (ky, kx) of an input that is read in place.
static esp_conv_sddmm_window clipped_window(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, size_t top,
                                            size_t rows, size_t ky, size_t kx) {
  const size_t stride = shape->stride;
  const axis_window y = axis_window_make(top, top + rows, plan->in_height, stride, ky, shape->pad_top);
  const axis_window x = axis_window_make(0, plan->width, plan->in_width, stride, kx, shape->pad_left);
  if (y.first == y.last || x.first == x.last) return (esp_conv_sddmm_window){0};
  const size_t i = y.first * stride + ky - shape->pad_top, j = x.first * stride + kx - shape->pad_left;
  return (esp_conv_sddmm_window){
      .d = (uint32_t)((y.first - top) * plan->d_row + x.first * plan->lanes),
      .x = (uint32_t)((i * plan->in_width + j) * plan->lanes),
      .rows = (uint32_t)(y.last - y.first),
      .floats = (uint32_t)((x.last - x.first) * plan->lanes),
  };
}

void esp_conv_sddmm_windows(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, size_t top, size_t rows,
                            esp_conv_sddmm_window *restrict windows) {
  const size_t stride = shape->stride, width = plan->width * plan->lanes;
  // Where D's rows are as long as the copy's, all of them are one row.
  const int one_row = plan->d_row == plan->row;
  for (size_t tap = 0; tap < plan->taps; tap++) {
    const size_t ky = tap / shape->kernel_width, kx = tap % shape->kernel_width;
    if (plan->in_place) {
      windows[tap] = clipped_window(shape, plan, top, rows, ky, kx);
      continue;
    }
    const size_t phase = ky % stride * plan->col_phases + kx % stride;
    windows[tap] = (esp_conv_sddmm_window){
        .x = (uint32_t)(phase * plan->plane + ky / stride * plan->row + kx / stride * plan->lanes),
        .rows = (uint32_t)(one_row ? 1 : rows),
        .floats = (uint32_t)(one_row ? width + (rows - 1) * plan->d_row : width),
    };
  }
}

/// Copies every stride-th pixel of a row, `pixels` of them.
static void copy_pixels(const float *restrict from, size_t pixels, size_t stride, size_t lanes, float *restrict to) {
  if (stride == 1) {
    memcpy(to, from, pixels * lanes * sizeof *to);
  } else if (lanes == 32) {
    for (size_t j = 0; j < pixels; j++) memcpy(to + j * 32, from + j * stride * 32, 32 * sizeof *to);
  } else if (lanes == 1) {
    for (size_t j = 0; j < pixels; j++) to[j] = from[j * stride];
  } else {
    for (size_t j = 0; j < pixels; j++) memcpy(to + j * lanes, from + j * stride * lanes, lanes * sizeof *to);
  }
}

/// The first index of phase `phase` that is at least `bound` among all padded pixels.
static size_t first_in_phase(size_t bound, size_t phase, size_t stride) {
  if (bound <= phase) return 0;
  return stride == 1 ? bound - phase : (bound - phase + stride - 1) / stride;
}

/// Copies row i of an input channel into the rows of its phases, the first of which is `to`, or zeros where the image
/// has no such row.
static void copy_row(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict from,
                     int inside, float *restrict to) {
  const size_t stride = shape->stride, lanes = plan->lanes, pad = shape->pad_left;
  const size_t read = plan->width + (shape->kernel_width - 1) / stride;
  for (size_t q = 0; q < plan->col_phases; q++, to += plan->plane) {
    const size_t left = first_in_phase(pad, q, stride);
    const size_t right = smaller(first_in_phase(pad + plan->in_width, q, stride), read);
    if (left >= right) continue;
    if (inside) {
      copy_pixels(from + (left * stride + q - pad) * lanes, right - left, stride, lanes, to + left * lanes);
    } else {
      memset(to + left * lanes, 0, (right - left) * lanes * sizeof *to);
    }
  }
}

/// Copies what a band from output row `top` on reads of one channel.
static void copy_channel(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict channel,
                         size_t top, float *restrict to) {
  const size_t rows = plan->plane / plan->row;
  for (size_t r = 0; r < rows; r++) {
    for (size_t p = 0; p < plan->row_phases; p++) {
      const size_t padded = (top + r) * shape->stride + p, i = padded - shape->pad_top;
      const int inside = padded >= shape->pad_top && i < plan->in_height;
      // With one band the rows outside the image are the same in every copy, and zero already.
      if (!inside && plan->bands == 1) continue;
      copy_row(shape, plan, inside ? channel + i * plan->in_width * plan->lanes : channel, inside,
               to + p * plan->col_phases * plan->plane + r * plan->row);
    }
  }
}

void esp_conv_sddmm_copy_input(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict x,
                               size_t first, size_t last, size_t top, float *restrict to) {
  const size_t in_channel = plan->in_height * plan->in_width * plan->lanes;
  for (size_t c = first; c < last; c++) {
    if (plan->pointwise) {
      const size_t rows = smaller(plan->band_rows, plan->height - top);
      memcpy(to + (c - first) * plan->channel, x + c * in_channel + top * plan->lanes, rows * plan->lanes * sizeof *to);
      continue;
    }
    copy_channel(shape, plan, x + c * in_channel, top, to + (c - first) * plan->channel);
  }
}

void esp_conv_sddmm_copy_delta(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict d,
                               size_t top, size_t rows, float *restrict to) {
  const size_t row = plan->width * plan->lanes;
  for (size_t o = 0; o < shape->out_channels; o++) {
    for (size_t i = 0; i < rows; i++, to += plan->d_row) {
      memcpy(to, d + (o * plan->height + top + i) * row, row * sizeof *to);
      memset(to + row, 0, (plan->d_row - row) * sizeof *to);
    }
  }
}
