#include "../divide.h"
#include "conv.h"

void esp_conv_places(const esp_csr *w, const esp_conv_plan *plan, uint64_t first, uint64_t last,
                     esp_conv_place *restrict places) {
  const uint32_t taps = (uint32_t)(plan->shape.kernel_height * plan->shape.kernel_width);
  const esp_divider by_taps = esp_divider_make(taps);
  for (uint64_t k = first; k < last; k++) {
    const uint32_t channel = esp_divide(w->column_indices[k], by_taps);
    places[k] = (esp_conv_place){channel, w->column_indices[k] - channel * taps};
  }
}

/// Where the input that tap (ky, kx) reads lies, from the first row and column of the run.
static uint32_t tap_offset(const esp_conv_plan *plan, const esp_conv_run *rows, const esp_conv_run *columns, size_t ky,
                           size_t kx) {
  const esp_conv_shape *s = &plan->shape;
  const size_t i = (rows->first * s->stride + ky - s->pad_top) / s->input_dilation - rows->in_first;
  const size_t j = (columns->first * s->stride + kx - s->pad_left) / s->input_dilation - columns->in_first;
  const size_t column = plan->phase ? j % s->stride * plan->phase + j / s->stride : j * plan->lanes;
  return (uint32_t)(i * plan->row + column);
}

/// Copies those of 256 taps or fewer that meet the input.
static void make_filtered(const esp_csr *w, const float *values, const esp_conv_plan *plan,
                          const esp_conv_place *places, const esp_conv_run *rows, const esp_conv_run *columns,
                          uint32_t *restrict starts, esp_conv_entry *restrict entries) {
  const size_t width = plan->shape.kernel_width, taps = plan->shape.kernel_height * width;
  uint32_t offsets[esp_conv_max_taps * esp_conv_max_taps];
  uint8_t meets[esp_conv_max_taps * esp_conv_max_taps];
  for (size_t t = 0; t < taps; t++) {
    meets[t] = rows->taps >> t / width & columns->taps >> t % width & 1;
    offsets[t] = meets[t] ? tap_offset(plan, rows, columns, t / width, t % width) : 0;
  }
  const uint32_t plane = (uint32_t)plan->plane;
  uint32_t count = 0;
  starts[0] = 0;
  for (size_t o = 0; o < w->rows; o++) {
    for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
      const esp_conv_place place = places[k];
      // Written over by the next where it does not count: entry k of a list exists while count <= k.
      entries[count] = (esp_conv_entry){place.channel * plane + offsets[place.tap], values[k]};
      count += meets[place.tap];
    }
    starts[o + 1] = count;
  }
}

void esp_conv_make_list(const esp_csr *w, const float *values, const esp_conv_plan *plan, const esp_conv_place *places,
                        size_t row_run, size_t column_run, uint32_t *restrict starts,
                        esp_conv_entry *restrict entries) {
  const esp_conv_run *rows = plan->rows.runs + row_run, *columns = plan->columns.runs + column_run;
  if (!plan->padded) {
    make_filtered(w, values, plan, places, rows, columns, starts, entries);
    return;
  }
  const uint32_t width = (uint32_t)plan->shape.kernel_width, plane = (uint32_t)plan->plane;
  const esp_divider by_width = esp_divider_make(width);
  for (size_t o = 0; o <= w->rows; o++) starts[o] = (uint32_t)w->row_starts[o];
  for (uint32_t k = 0; k < starts[w->rows]; k++) {
    const uint32_t ky = esp_divide(places[k].tap, by_width), kx = places[k].tap - ky * width;
    entries[k] = (esp_conv_entry){places[k].channel * plane + tap_offset(plan, rows, columns, ky, kx), values[k]};
  }
}
