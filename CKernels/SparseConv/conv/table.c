#include <assert.h>

#include "conv.h"

static esp_conv_band_outputs *const variants[ESP_ISA_COUNT] = ESP_VARIANTS(
    esp_conv_band_outputs_scalar, esp_conv_band_outputs_avx2, esp_conv_band_outputs_avx2, esp_conv_band_outputs_scalar);

esp_conv_shape esp_conv_input_gradient_shape(const esp_conv_shape *forward) {
  assert(forward->input_dilation == 1);
  assert(forward->pad_top < forward->kernel_height && forward->pad_left < forward->kernel_width);
  return (esp_conv_shape){
      .in_channels = forward->out_channels,
      .in_height = forward->out_height,
      .in_width = forward->out_width,
      .out_channels = forward->in_channels,
      .out_height = forward->in_height,
      .out_width = forward->in_width,
      .kernel_height = forward->kernel_height,
      .kernel_width = forward->kernel_width,
      .stride = 1,
      .pad_top = forward->kernel_height - 1 - forward->pad_top,
      .pad_left = forward->kernel_width - 1 - forward->pad_left,
      .input_dilation = forward->stride,
  };
}

size_t esp_sparse_conv_workspace(const esp_conv_shape *shape, size_t nnz, size_t lanes, int threads) {
  return (size_t)threads * esp_conv_plan_make(shape, lanes).band_floats + nnz;
}

/// The tasks [first, last) of one thread. Task = (block * bands + band) * parts + part; a part is a range of output
/// channels. The band is copied where it differs from the last task's.
static void run_tasks(const esp_conv_call *call, esp_conv_band_outputs *outputs, size_t parts, const float *restrict x,
                      float *restrict y, float *restrict band, size_t first, size_t last) {
  const esp_conv_shape *shape = call->shape;
  const esp_conv_plan *plan = &call->plan;
  const size_t in_block = shape->in_channels * shape->in_height * shape->in_width * plan->lanes;
  const size_t out_row = shape->out_width * plan->lanes;
  const size_t out_block = shape->out_channels * shape->out_height * out_row;
  for (size_t task = first; task < last; task++) {
    const size_t part = task % parts, block = task / parts / plan->bands;
    const size_t top = task / parts % plan->bands * plan->band_rows, left = shape->out_height - top;
    const size_t rows = left < plan->band_rows ? left : plan->band_rows;
    const float *image = x + block * in_block;
    if (!plan->in_place && (task == first || part == 0)) esp_conv_copy_band(shape, plan, image, top, rows, band);
    const float *input = plan->in_place ? image + top * shape->stride * plan->row : band;
    outputs(call, input, rows, y + block * out_block + top * out_row, esp_part(shape->out_channels, part, parts),
            esp_part(shape->out_channels, part + 1, parts));
  }
}

void esp_sparse_conv_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias,
                         const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *restrict x,
                         float *restrict y, float *restrict workspace, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  assert(w->rows == shape->out_channels);
  assert(w->columns == shape->in_channels * shape->kernel_height * shape->kernel_width);
  const esp_conv_plan plan = esp_conv_plan_make(shape, lanes);
  uint32_t *offsets = (uint32_t *)(workspace + (size_t)threads * plan.band_floats);
  const esp_conv_call call = {w, values, bias, shape, plan, offsets};
  const uint64_t nnz = w->row_starts[w->rows];
  const size_t parts = blocks * plan.bands < (size_t)threads ? (size_t)threads : 1;
  const size_t tasks = blocks * plan.bands * parts;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      esp_conv_offsets(w, shape, &plan, esp_part(nnz, part, threads), esp_part(nnz, part + 1, threads), offsets);
    }
#pragma omp for schedule(static)
    for (int thread = 0; thread < threads; thread++) {
      run_tasks(&call, variants[isa], parts, x, y, workspace + thread * plan.band_floats,
                esp_part(tasks, thread, threads), esp_part(tasks, thread + 1, threads));
    }
  }
}
