#include <assert.h>
#include <string.h>

#include "conv_sddmm.h"

static esp_conv_sddmm_connections *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_conv_sddmm_connections_scalar, esp_conv_sddmm_connections_avx2, esp_conv_sddmm_connections_avx512,
                 esp_conv_sddmm_connections_neon);

esp_conv_sddmm_connections *esp_conv_sddmm_connections_of(esp_isa isa) {
  return variants[isa];
}

esp_conv_sddmm_unit esp_conv_sddmm_unit_of(const esp_conv_sddmm_call *call, size_t unit) {
  const esp_conv_sddmm_plan *plan = &call->plan;
  esp_conv_sddmm_unit range = {.block = unit / plan->bands * plan->group, .top = unit % plan->bands * plan->band_rows};
  const size_t blocks = call->blocks - range.block, rows = plan->height - range.top;
  range.blocks = blocks < plan->group ? blocks : plan->group;
  range.rows = rows < plan->band_rows ? rows : plan->band_rows;
  return range;
}

size_t esp_conv_sddmm_space(const esp_conv_sddmm_plan *plan) {
  return plan->x_floats + plan->d_floats + plan->tap_floats;
}

/// The tile of a unit without its input: D where it lies, or copied.
static esp_conv_sddmm_tile tile_make(const esp_conv_sddmm_call *call, esp_conv_sddmm_unit range,
                                     float *restrict space) {
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

void esp_conv_sddmm_run(const esp_conv_sddmm_call *call, size_t unit, size_t p, uint64_t first, uint64_t last,
                        float *restrict space) {
  const esp_conv_shape *shape = call->shape;
  const esp_conv_sddmm_plan *plan = &call->plan;
  const size_t in_block = shape->in_channels * shape->in_height * shape->in_width * plan->lanes;
  const esp_conv_sddmm_unit range = esp_conv_sddmm_unit_of(call, unit);
  esp_conv_sddmm_tile tile = tile_make(call, range, space);
  tile.accumulate = unit > esp_part(plan->units, p, plan->partial_sums);
  float *sum = p == 0 ? call->g : call->sums + (p - 1) * call->pattern->row_starts[call->pattern->rows];
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
static void run_range(const esp_conv_sddmm_call *call, uint64_t first, uint64_t last, float *restrict space) {
  const esp_conv_sddmm_plan *plan = &call->plan;
  const uint64_t nnz = call->pattern->row_starts[call->pattern->rows];
  if (first == last) return;
  memset(space, 0, plan->x_floats * sizeof *space);
  for (uint64_t p = first / nnz; p * nnz < last; p++) {
    const uint64_t from = p * nnz < first ? first - p * nnz : 0, to = last - p * nnz < nnz ? last - p * nnz : nnz;
    const size_t end = esp_part(plan->units, p + 1, plan->partial_sums);
    for (size_t u = esp_part(plan->units, p, plan->partial_sums); u < end; u++) {
      esp_conv_sddmm_run(call, u, p, from, to, space);
    }
  }
}

void esp_conv_sddmm_add_up(const esp_conv_sddmm_call *call, uint64_t first, uint64_t last) {
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
  return (size_t)threads * esp_conv_sddmm_space(&plan) + (plan.partial_sums - 1) * nnz;
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
  const size_t space = esp_conv_sddmm_space(&plan);
  const esp_conv_sddmm_call call = {variants[isa], pattern, shape, plan, blocks, x, d, g, workspace + threads * space};
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
      esp_conv_sddmm_add_up(&call, esp_part(nnz, part, threads), esp_part(nnz, part + 1, threads));
    }
  }
}
