#include <assert.h>
#include <string.h>

#include "conv_sddmm.h"

static esp_conv_sddmm_connections *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_conv_sddmm_connections_scalar, esp_conv_sddmm_connections_avx2, esp_conv_sddmm_connections_avx512,
                 esp_conv_sddmm_connections_neon);

/// What all threads of one weight gradient share.
typedef struct sddmm_call {
  esp_conv_sddmm_connections *connections;
  const esp_csr *pattern;
  const esp_conv_shape *shape;
  esp_conv_sddmm_plan plan;
  size_t blocks;
  const float *x, *d;
  float *g, *sums;  // partial sum p > 0 lies at sums + (p - 1) * nnz; sum 0 in g
} sddmm_call;

/// Output rows [top, top + rows) of the blocks [block, block + blocks).
typedef struct unit_range {
  size_t block, blocks, top, rows;
} unit_range;

static unit_range range_of_unit(const sddmm_call *call, size_t unit) {
  const esp_conv_sddmm_plan *plan = &call->plan;
  unit_range range = {.block = unit / plan->bands * plan->group, .top = unit % plan->bands * plan->band_rows};
  const size_t blocks = call->blocks - range.block, rows = plan->height - range.top;
  range.blocks = blocks < plan->group ? blocks : plan->group;
  range.rows = rows < plan->band_rows ? rows : plan->band_rows;
  return range;
}

/// A thread's workspace: the input's copy, D's and the windows.
static size_t space_of_thread(const esp_conv_sddmm_plan *plan) {
  return plan->x_floats + plan->d_floats + plan->tap_floats;
}

/// The tile of a unit without its input: D where it lies, or copied.
static esp_conv_sddmm_tile tile_make(const sddmm_call *call, unit_range range, float *restrict space) {
  const esp_conv_sddmm_plan *plan = &call->plan;
  const size_t d_row = plan->width * plan->lanes, d_block = call->shape->out_channels * plan->height * d_row;
  float *d_copy = space + plan->x_floats;
  esp_conv_sddmm_window *windows = (esp_conv_sddmm_window *)(d_copy + plan->d_floats);
  esp_conv_sddmm_windows(call->shape, plan, range.top, range.rows, windows);
  esp_conv_sddmm_tile tile = {
      .pattern = call->pattern,
      .by_taps = esp_divider_make((uint32_t)plan->taps),
      .windows = windows,
      .d = call->d + range.block * d_block + range.top * d_row,
      .segments = range.blocks,
      .lanes = plan->in_place ? plan->lanes : 0,
      .x_step = plan->in_place ? call->shape->stride * plan->lanes : 0,
      .d_channel = plan->height * d_row,
      .x_channel = plan->channel,
      .d_segment = d_block,
      .x_segment = plan->segment,
      .d_row = plan->d_row,
      .x_row = plan->row,
  };
  if (plan->d_floats == 0) return tile;
  tile.d_channel = range.rows * plan->d_row;
  tile.d_segment = call->shape->out_channels * tile.d_channel;
  for (size_t b = 0; b < range.blocks; b++) {
    esp_conv_sddmm_copy_delta(call->shape, plan, call->d + (range.block + b) * d_block, range.top, range.rows,
                              d_copy + b * tile.d_segment);
  }
  tile.d = d_copy;
  return tile;
}

/// One unit's part of a partial sum at the connections [first, last).
static void run_unit(const sddmm_call *call, size_t unit, int accumulate, uint64_t first, uint64_t last,
                     float *restrict space, float *restrict sum) {
  const esp_conv_shape *shape = call->shape;
  const esp_conv_sddmm_plan *plan = &call->plan;
  const size_t in_block = shape->in_channels * shape->in_height * shape->in_width * plan->lanes;
  const unit_range range = range_of_unit(call, unit);
  esp_conv_sddmm_tile tile = tile_make(call, range, space);
  tile.accumulate = accumulate;
  for (size_t chunk = 0; chunk < plan->chunks; chunk++) {
    const size_t channel = chunk * plan->chunk, left = shape->in_channels - channel;
    const size_t end = channel + (left < plan->chunk ? left : plan->chunk);
    tile.x = plan->in_place ? call->x + range.block * in_block + channel * plan->channel : space;
    for (size_t b = 0; b < range.blocks && !plan->in_place; b++) {
      esp_conv_sddmm_copy_input(shape, plan, call->x + (range.block + b) * in_block, channel, end, range.top,
                                space + b * plan->segment);
    }
    tile.first_column = channel * plan->taps;
    tile.last_column = end * plan->taps;
    call->connections(&tile, first, last, sum);
  }
}

/// The part [first, last) of all partial sums, which lie one behind the other.
static void run_range(const sddmm_call *call, uint64_t first, uint64_t last, float *restrict space) {
  const esp_conv_sddmm_plan *plan = &call->plan;
  const uint64_t nnz = call->pattern->row_starts[call->pattern->rows];
  if (first == last) return;
  memset(space, 0, plan->x_floats * sizeof *space);
  for (uint64_t p = first / nnz; p * nnz < last; p++) {
    const uint64_t from = p * nnz < first ? first - p * nnz : 0, to = last - p * nnz < nnz ? last - p * nnz : nnz;
    float *sum = p == 0 ? call->g : call->sums + (p - 1) * nnz;
    const size_t unit = esp_part(plan->units, p, plan->partial_sums);
    for (size_t u = unit; u < esp_part(plan->units, p + 1, plan->partial_sums); u++) {
      run_unit(call, u, u > unit, from, to, space, sum);
    }
  }
}

/// Adds up the partial sums at the connections [first, last): (0 + 1) + (2 + 3).
static void add_partial_sums(const sddmm_call *call, uint64_t first, uint64_t last) {
  const size_t partial_sums = call->plan.partial_sums;
  const uint64_t nnz = call->pattern->row_starts[call->pattern->rows];
  if (partial_sums == 1) return;
  for (uint64_t k = first; k < last; k++) {
    const float *sum = call->sums + k;
    const float second = partial_sums == 4 ? sum[nnz] + sum[2 * nnz] : partial_sums == 3 ? sum[nnz] : 0;
    call->g[k] = (call->g[k] + sum[0]) + second;
  }
}

size_t esp_sparse_conv_sddmm_workspace(const esp_conv_shape *shape, size_t nnz, size_t blocks, size_t lanes,
                                       int threads) {
  const esp_conv_sddmm_plan plan = esp_conv_sddmm_plan_make(shape, nnz, blocks, lanes);
  return (size_t)threads * space_of_thread(&plan) + (plan.partial_sums - 1) * nnz;
}

void esp_sparse_conv_sddmm_f32(esp_isa isa, const esp_csr *pattern, const esp_conv_shape *shape, size_t blocks,
                               size_t lanes, const float *restrict x, const float *restrict d, float *restrict g,
                               float *restrict workspace, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  assert(pattern->rows == shape->out_channels && shape->input_dilation == 1);
  assert(pattern->columns == shape->in_channels * shape->kernel_height * shape->kernel_width);
  const uint64_t nnz = pattern->row_starts[pattern->rows];
  const esp_conv_sddmm_plan plan = esp_conv_sddmm_plan_make(shape, nnz, blocks, lanes);
  const uint64_t all = plan.partial_sums * nnz;
  const size_t space = space_of_thread(&plan);
  const sddmm_call call = {variants[isa], pattern, shape, plan, blocks, x, d, g, workspace + threads * space};
  if (blocks == 0) {
    memset(g, 0, nnz * sizeof *g);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      run_range(&call, esp_part(all, part, threads), esp_part(all, part + 1, threads), workspace + part * space);
    }
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      add_partial_sums(&call, esp_part(nnz, part, threads), esp_part(nnz, part + 1, threads));
    }
  }
}
