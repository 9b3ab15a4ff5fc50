#include <assert.h>

#include "conv.h"

/// The input of a band takes at most half of a second-level cache of 2 MiB, where one output row's does.
static const size_t band_limit = 256 * 1024;

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
        out->runs[out->count++] = (esp_conv_run){i, 1, step, a->stride * step / a->dilation, taps};
      }
    }
  }
  return 1;
}

static int is_pointwise(const esp_conv_shape *s) {
  return s->kernel_height * s->kernel_width == 1 && s->stride == 1 && s->input_dilation == 1 && s->pad_top == 0 &&
         s->pad_left == 0 && s->out_height == s->in_height && s->out_width == s->in_width;
}

/// Whether every tap of every output meets the input.
static int needs_no_padding(const esp_conv_shape *s) {
  return s->pad_top == 0 && s->pad_left == 0 && s->input_dilation == 1 &&
         (s->out_height - 1) * s->stride + s->kernel_height <= s->in_height &&
         (s->out_width - 1) * s->stride + s->kernel_width <= s->in_width;
}

/// A point is one output position; of single samples, 16 columns, which must lie side by side in the input.
static int reads_in_place(esp_conv_plan *plan) {
  const esp_conv_shape *s = &plan->shape;
  if (plan->lanes == 1 && !(needs_no_padding(s) && s->stride == 1 && s->out_width >= 16)) return 0;
  const axis rows = rows_of(s), columns = columns_of(s);
  return cut(&rows, &plan->rows) && cut(&columns, &plan->columns);
}

/// The copied band's geometry: the padding becomes part of the image.
static void plan_copy(esp_conv_plan *plan) {
  esp_conv_shape *s = &plan->shape;
  plan->copies = 1;
  if (plan->band_rows > s->out_height) plan->band_rows = s->out_height;
  s->in_width = (s->out_width - 1) * s->stride + s->kernel_width;
  s->in_height = (plan->band_rows - 1) * s->stride + s->kernel_height;
  if (plan->lanes == 1) {
    plan->phase = s->out_width + (s->kernel_width - 1) / s->stride;
    s->in_width = plan->phase * s->stride;
  }
  s->pad_top = s->pad_left = 0;
  s->input_dilation = 1;
  plan->rows = (esp_conv_axis){{{0, plan->band_rows, 1, s->stride, UINT32_MAX}}, 1};
  plan->columns = (esp_conv_axis){{{0, s->out_width, 1, s->stride, UINT32_MAX}}, 1};
}

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes) {
  esp_conv_plan plan = {.shape = *shape, .lanes = lanes, .floats = lanes == 1 ? 16 : lanes};
  esp_conv_shape *s = &plan.shape;
  if (is_pointwise(s)) {
    const size_t positions = s->in_height * s->in_width, width = lanes == 1 ? positions : 1;
    s->in_height = s->out_height = positions / width;
    s->in_width = s->out_width = width;
  }
  const size_t row = s->in_channels * s->in_width * lanes;
  const size_t fit = band_limit / row * s->input_dilation;  // padded input rows
  plan.band_rows = fit > s->kernel_height ? 1 + (fit - s->kernel_height) / s->stride : 1;
  if (!reads_in_place(&plan)) plan_copy(&plan);
  plan.row = s->in_width * lanes;
  plan.plane = s->in_height * plan.row;
  // Beyond a copied band, what the last point reads and does not use.
  if (plan.copies) plan.band_floats = (s->in_channels * plan.plane + plan.floats + 15) / 16 * 16;
  assert(s->in_channels * plan.plane <= UINT32_MAX);
  return plan;
}
