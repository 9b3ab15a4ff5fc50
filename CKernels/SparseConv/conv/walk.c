#include "conv.h"

/// A tile that is being filled with points.
typedef struct walk {
  const esp_conv_call *call;
  const esp_conv_outputs *outputs;
  const esp_conv_list *list;
  esp_conv_tile tile;
} walk;

static void flush(walk *walk) {
  if (walk->tile.points > 0) walk->call->compute(walk->outputs, walk->list, &walk->tile);
  walk->tile.points = 0;
}

static void add_point(walk *walk, const float *in, float *out) {
  walk->tile.in[walk->tile.points] = in;
  walk->tile.out[walk->tile.points++] = out;
  if (walk->tile.points == esp_conv_points) flush(walk);
}

/// The columns of one run in one output row, whose first columns are at `in` and `out`.
static void add_columns(walk *walk, const esp_conv_run *run, const float *in, float *out) {
  const size_t lanes = walk->call->plan.lanes;
  if (lanes == 1) {
    // The last point may overlap the one before.
    const size_t width = run->count, floats = walk->tile.floats;
    for (size_t j = 0; j < width; j += floats) {
      if (j + floats > width && width >= floats) j = width - floats;
      add_point(walk, in + j, out + j);
    }
    return;
  }
  for (size_t q = 0; q < run->count; q++) {
    add_point(walk, in + q * run->in_step * lanes, out + (run->first + q * run->step) * lanes);
  }
}

/// The rows of one run among the output rows [first, last), numbered through the blocks.
static void add_rows(walk *walk, const esp_conv_run *run, const esp_conv_run *columns, size_t first, size_t last,
                     const float *x, float *y) {
  const esp_conv_plan *plan = &walk->call->plan;
  const esp_conv_shape *s = &plan->shape;
  const size_t out_row = s->out_width * plan->lanes;
  size_t block = first / s->out_height, i = first % s->out_height;
  for (size_t row = first; row < last; row++) {
    const size_t q = (i - run->first) / run->step;
    if (i >= run->first && (i - run->first) % run->step == 0 && q < run->count) {
      add_columns(walk, columns, x + block * s->in_channels * plan->plane + q * run->in_step * plan->row,
                  y + (block * s->out_channels * s->out_height + i) * out_row);
    }
    if (++i == s->out_height) i = 0, block++;
  }
}

/// The output rows [first, last) of a band.
static void compute_band(const esp_conv_call *call, const esp_conv_outputs *outputs, size_t first, size_t last,
                         const float *x, float *y) {
  const esp_conv_plan *plan = &call->plan;
  const size_t width = plan->shape.out_width;
  walk walk = {.call = call, .outputs = outputs, .tile = {.floats = plan->floats, .written = plan->floats}};
  if (plan->lanes == 1 && width < plan->floats) walk.tile.written = width;
  for (size_t r = 0; r < plan->rows.count; r++) {
    for (size_t c = 0; c < plan->columns.count; c++) {
      const esp_conv_list list = esp_conv_list_at(call, r * plan->columns.count + c);
      walk.list = &list;
      add_rows(&walk, plan->rows.runs + r, plan->columns.runs + c, first, last, x, y);
      flush(&walk);
    }
  }
}

void esp_conv_walk(const esp_conv_call *call, const esp_conv_outputs *outputs, size_t first, size_t last,
                   const float *restrict x, float *restrict y, float *restrict band) {
  const esp_conv_plan *plan = &call->plan;
  const esp_conv_shape *s = call->shape;
  const size_t height = plan->shape.out_height, out_block = s->out_channels * s->out_height * s->out_width * plan->lanes;
  for (size_t row = first, rows; row < last; row += rows) {
    rows = last - row < plan->band_rows ? last - row : plan->band_rows;
    if (!plan->copies) {
      compute_band(call, outputs, row, row + rows, x, y);
      continue;
    }
    const size_t block = row / height, top = row % height;
    if (rows > height - top) rows = height - top;
    const float *image = x + block * s->in_channels * s->in_height * s->in_width * plan->lanes;
    esp_conv_copy_band(s, plan, image, top, rows, band);
    float *output = y + block * out_block + top * s->out_width * plan->lanes;
    compute_band(call, outputs, 0, rows, band, output);
  }
}
