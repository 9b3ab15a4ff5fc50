#include <string.h>

#include "conv.h"

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

/// A tile that is being filled with points.
typedef struct walk {
  const esp_conv_call *call;
  const esp_conv_outputs *outputs;
  const esp_conv_list *list;
  esp_conv_tile tile;
} walk;

/// The first outputs of points that are longer than a row.
static void compute_short(walk *walk, size_t width) {
  esp_conv_outputs outputs = *walk->outputs;
  esp_conv_tile tile = walk->tile;
  float all[esp_conv_points][16];
  for (size_t p = 0; p < tile.points; p++) tile.out[p] = all[p];
  outputs.plane = 0;
  outputs.base = NULL;
  for (size_t o = walk->outputs->first; o < walk->outputs->last; o++) {
    outputs.first = o;
    outputs.last = o + 1;
    walk->call->compute(&outputs, walk->list, &tile);
    for (size_t p = 0; p < tile.points; p++) {
      float *out = walk->tile.out[p] + o * walk->outputs->plane;
      const float *base = walk->outputs->base ? esp_conv_base_of(walk->outputs, out) : NULL;
      for (size_t i = 0; i < width; i++) out[i] = base ? all[p][i] + base[i] : all[p][i];
    }
  }
}

static void flush(walk *walk) {
  const esp_conv_plan *plan = &walk->call->plan;
  if (walk->tile.points == 0) return;
  if (plan->lanes == 1 && plan->shape.out_width < plan->floats) {
    compute_short(walk, plan->shape.out_width);
  } else {
    walk->call->compute(walk->outputs, walk->list, &walk->tile);
  }
  walk->tile.points = 0;
}

static void add_point(walk *walk, const float *in, float *out) {
  walk->tile.in[walk->tile.points] = (const float *)((uintptr_t)in - walk->list->skipped * sizeof *in);
  walk->tile.out[walk->tile.points++] = out;
  if (walk->tile.points == walk->call->plan.points) flush(walk);
}

/// Outputs of a point: of as many adjacent columns as make up vectors, where few are computed twice at the end.
static size_t point_floats(const esp_conv_plan *plan, const esp_conv_run *run) {
  if (plan->lanes == 1 || run->step > 1 || run->in_step > 1) return plan->floats;
  const size_t width = run->count * plan->lanes;
  size_t floats = plan->lanes;
  while (floats < 32 && (width % (2 * floats) == 0 || width >= 16 * floats)) floats *= 2;
  return floats;
}

/// The columns of one run in one output row, whose first columns are at `in` and `out`.
static void add_columns(walk *walk, const esp_conv_run *run, const float *in, float *out) {
  const size_t lanes = walk->call->plan.lanes, floats = walk->tile.floats;
  if (floats > lanes) {
    // The last point may overlap the one before.
    const size_t width = run->count * lanes;
    out += run->first * lanes;
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

/// Some output rows of a block, and where they and the input rows that they read, which begin with `in_first`, lie.
typedef struct segment {
  size_t first, last, in_first;
  const float *in;
  float *out;
} segment;

/// The rows of one run in a segment.
static void add_rows(walk *walk, const esp_conv_run *run, const esp_conv_run *columns, const segment *segment) {
  const esp_conv_plan *plan = &walk->call->plan;
  const size_t skipped = segment->first > run->first ? (segment->first - run->first + run->step - 1) / run->step : 0;
  for (size_t q = skipped; q < run->count && run->first + q * run->step < segment->last; q++) {
    const size_t in = run->taps ? run->in_first + q * run->in_step - segment->in_first : 0;
    const size_t out = run->first + q * run->step - segment->first;
    add_columns(walk, columns, segment->in + in * plan->row + columns->in_first * plan->lanes,
                segment->out + out * plan->shape.out_width * plan->lanes);
  }
}

/// Copies the input of the output rows [first, last), numbered through the blocks, and makes segments of them. Returns
/// how many.
static size_t fill_band(const esp_conv_call *call, size_t first, size_t last, const float *x, float *y,
                        float *restrict band, segment *segments) {
  const esp_conv_plan *plan = &call->plan;
  const esp_conv_shape *image = &plan->image;
  const size_t in_block = image->in_channels * image->in_height * image->in_width * plan->lanes;
  const size_t out_row = image->out_width * plan->lanes;
  size_t count = 0;
  for (size_t row = first; row < last; count++) {
    const size_t block = row / image->out_height, top = row % image->out_height;
    const size_t rows = smaller(last - row, image->out_height - top);
    const esp_conv_rows read = esp_conv_rows_read(plan, top, top + rows);
    float *out = y + (block * image->out_channels * image->out_height + top) * out_row;
    segments[count] = (segment){top, top + rows, 0, x + block * in_block, out};
    if (plan->copies) {
      float *copy = band + count * plan->block;
      segments[count].in_first = read.first;
      segments[count].in = copy;
      esp_conv_copy_band(plan, x + block * in_block, read, copy);
    }
    row += rows;
  }
  return count;
}

/// Rows from `row` on that make up a band: of several whole images and the rest of one, or of one image.
static size_t rows_of_band(const esp_conv_plan *plan, size_t row, size_t last) {
  const size_t height = plan->shape.out_height, left = height - row % height;
  const size_t rows =
      plan->band_rows < height ? smaller(plan->band_rows, left) : left + (plan->band_blocks - 1) * height;
  return smaller(rows, last - row);
}

void esp_conv_walk(const esp_conv_call *call, const esp_conv_lists *lists, const esp_conv_outputs *outputs,
                   size_t first, size_t last, const float *restrict x, float *restrict y, float *restrict band) {
  const esp_conv_plan *plan = &call->plan;
  segment segments[esp_conv_max_blocks];
  walk walk = {.call = call, .outputs = outputs};
  for (size_t row = first, rows; row < last; row += rows) {
    rows = rows_of_band(plan, row, last);
    const size_t count = fill_band(call, row, row + rows, x, y, band, segments);
    for (size_t pair = lists->panel.first_pair; pair < lists->panel.last_pair; pair++) {
      const esp_conv_run *columns = plan->columns.runs + pair % plan->columns.count;
      const esp_conv_list list = esp_conv_list_of(call->w, plan, lists, pair);
      walk.list = &list;
      walk.tile.floats = point_floats(plan, columns);
      for (size_t s = 0; s < count; s++) {
        add_rows(&walk, plan->rows.runs + pair / plan->columns.count, columns, segments + s);
      }
      flush(&walk);
    }
  }
}
