#include <assert.h>

#include "conv.h"

/// The input of a band takes at most half of a second-level cache of 2 MiB, where one output row's does.
static const size_t band_limit = 256 * 1024;

/// The input of a tile of many points takes at most a quarter of it.
static const size_t tile_limit = 128 * 1024;

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/// One axis of a shape.
typedef struct axis {
  size_t in, out, kernel, stride, pad, dilation;
} axis;

static axis rows_of(const esp_conv_shape *s) {
  return (axis){s->in_height, s->out_height, s->kernel_height, s->stride, s->pad_top, s->input_dilation};
}

static axis columns_of(const esp_conv_shape *s) {
  return (axis){s->in_width, s->out_width, s->kernel_width, s->stride, s->pad_left, s->input_dilation};
}

static size_t common_divisor(size_t a, size_t b) {
  return b == 0 ? a : common_divisor(b, a % b);
}

/// The taps through which output i meets the input.
static uint32_t taps_of(const axis *a, size_t i) {
  uint32_t taps = 0;
  for (size_t t = 0; t < a->kernel; t++) {
    const size_t at = i * a->stride + t;
    if (at >= a->pad && (at - a->pad) % a->dilation == 0 && (at - a->pad) / a->dilation < a->in) {
      taps |= UINT32_C(1) << t;
    }
  }
  return taps;
}

/// The input that the first of these taps meets at output i.
static size_t first_input(const axis *a, size_t i, uint32_t taps) {
  size_t t = 0;
  while (t < a->kernel && !(taps >> t & 1)) t++;
  return taps ? (i * a->stride + t - a->pad) / a->dilation : 0;
}

/// Cuts an axis into runs. Returns 0 where there are too many.
static int cut(const axis *a, esp_conv_axis *out) {
  *out = (esp_conv_axis){.count = 0};
  if (a->kernel > esp_conv_max_taps) return 0;
  const size_t step = a->dilation / common_divisor(a->dilation, a->stride);
  for (size_t phase = 0; phase < step && phase < a->out; phase++) {
    for (size_t i = phase; i < a->out; i += step) {
      const uint32_t taps = taps_of(a, i);
      if (i > phase && taps == out->runs[out->count - 1].taps) {
        out->runs[out->count - 1].count++;
      } else if (out->count == esp_conv_max_runs) {
        return 0;
      } else {
        out->runs[out->count++] =
            (esp_conv_run){i, first_input(a, i, taps), 1, step, a->stride * step / a->dilation, taps};
      }
    }
  }
  return 1;
}

static int is_pointwise(const esp_conv_shape *s) {
  return s->kernel_height * s->kernel_width == 1 && s->stride == 1 && s->input_dilation == 1 && s->pad_top == 0 &&
         s->pad_left == 0 && s->out_height == s->in_height && s->out_width == s->in_width;
}

/// Whether there is room for a whole channel and indices of it, which have 16 bits.
static int can_index(const esp_conv_shape *s) {
  const size_t columns = s->in_channels * s->kernel_height * s->kernel_width;
  return columns <= esp_conv_small / 3 || (columns <= UINT16_MAX && s->out_channels > 2);
}

/// Whether there are lists by run. Single samples do without: their columns make up the vectors.
static int has_runs(esp_conv_plan *plan) {
  const axis rows = rows_of(&plan->shape), columns = columns_of(&plan->shape);
  return plan->lanes > 1 && can_index(&plan->shape) && cut(&rows, &plan->rows) && cut(&columns, &plan->columns);
}

/// The padding becomes part of the band.
static void plan_padding(esp_conv_plan *plan) {
  esp_conv_shape *s = &plan->shape;
  plan->padded = 1;
  s->in_width = (s->out_width - 1) * s->stride + s->kernel_width;
  if (plan->lanes == 1) {
    plan->phase = s->out_width + (s->kernel_width - 1) / s->stride;
    s->in_width = plan->phase * s->stride;
  }
  s->in_height = (s->out_height - 1) * s->stride + s->kernel_height;
  s->pad_top = s->pad_left = 0;
  s->input_dilation = 1;
  plan->rows = (esp_conv_axis){{{0, 0, s->out_height, 1, s->stride, UINT32_MAX}}, 1};
  plan->columns = (esp_conv_axis){{{0, 0, s->out_width, 1, s->stride, UINT32_MAX}}, 1};
}

/// Whether all channels begin in the same sets of a first-level cache.
static int channels_collide(const esp_conv_shape *s, size_t lanes) {
  return s->in_height * s->in_width * lanes * sizeof(float) % 4096 == 0;
}

static void plan_bands(esp_conv_plan *plan) {
  const esp_conv_shape *s = &plan->shape;
  plan->row = s->in_width * plan->lanes;
  const size_t fit = band_limit / (s->in_channels * plan->row) * s->input_dilation;  // rows of dilated input
  plan->band_rows = fit > s->kernel_height ? 1 + (fit - s->kernel_height) / s->stride : 1;
  if (is_pointwise(s)) plan->band_rows = esp_conv_few;
  if (plan->band_rows > s->out_height) plan->band_rows = s->out_height;
  const size_t height = plan->copies ? (plan->band_rows - 1) * s->stride + s->kernel_height : s->in_height;
  plan->plane = smaller(height, s->in_height) * plan->row;
  plan->block = s->in_channels * plan->plane;
  plan->band_blocks = plan->band_rows < s->out_height || plan->padded ? 1 : band_limit / plan->block;
  if (plan->band_blocks == 0) plan->band_blocks = 1;
  plan->band_blocks = smaller(plan->band_blocks, esp_conv_max_blocks);
  // Beyond a band lies what the last point of single samples reads and does not use.
  if (plan->copies) plan->band_floats = (plan->band_blocks * plan->block + 31) / 16 * 16;
  const size_t rows = esp_conv_points * plan->floats / (s->out_width * plan->lanes) + s->kernel_height;
  plan->points = rows * s->in_channels * plan->row <= tile_limit ? esp_conv_points : esp_conv_few;
  assert(plan->block + s->kernel_height * plan->row <= UINT32_MAX);
}

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes) {
  esp_conv_plan plan = {.shape = *shape, .lanes = lanes, .floats = lanes == 1 ? 16 : lanes};
  esp_conv_shape *s = &plan.shape;
  if (is_pointwise(s)) {
    const size_t positions = s->in_height * s->in_width, width = lanes == 1 ? positions : 1;
    s->in_height = s->out_height = positions / width;
    s->in_width = s->out_width = width;
  }
  plan.image = *s;
  if (!has_runs(&plan)) plan_padding(&plan);
  plan.copies = plan.padded || (is_pointwise(s) && channels_collide(s, lanes));
  plan_bands(&plan);
  return plan;
}
