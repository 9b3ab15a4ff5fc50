#include <assert.h>

#include "conv.h"

static esp_conv_compute *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_conv_compute_scalar, esp_conv_compute_avx2, esp_conv_compute_avx512, esp_conv_compute_neon);

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
  const esp_conv_plan plan = esp_conv_plan_make(shape, lanes);
  return (size_t)threads * plan.band_floats + esp_conv_list_floats(&plan, nnz);
}

esp_conv_compute *esp_conv_compute_of(esp_isa isa) {
  return variants[isa];
}

int esp_conv_streams(const float *y, size_t lanes, size_t floats) {
  return lanes == 32 && floats >= 512 * 1024 && (uintptr_t)y % 64 == 0;
}

void esp_sparse_conv_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias,
                         const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *restrict x,
                         float *restrict y, float *restrict workspace, int threads) {
  esp_sparse_conv_add_f32(isa, w, values, bias, NULL, shape, blocks, lanes, x, y, workspace, threads);
}

void esp_sparse_conv_add_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, const float *base,
                             const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *restrict x,
                             float *restrict y, float *restrict workspace, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  assert(w->rows == shape->out_channels);
  assert(w->columns == shape->in_channels * shape->kernel_height * shape->kernel_width);
  const esp_conv_call call = {esp_conv_plan_make(shape, lanes), w, variants[isa]};
  const esp_conv_plan *plan = &call.plan;
  const size_t rows = blocks * plan->shape.out_height, plane = shape->out_height * shape->out_width * lanes;
  const size_t list_floats = esp_conv_list_floats(plan, w->row_starts[w->rows]);
  float *list_space = workspace + (size_t)threads * plan->band_floats;
  const int stream = esp_conv_streams(y, lanes, blocks * w->rows * plane);
  // Threads take ranges of rows, and where there are fewer rows than threads, of output channels too.
  const size_t parts = rows < (size_t)threads ? (size_t)threads / rows : 1, ranges = (size_t)threads / parts;
#pragma omp parallel num_threads(threads)
  for (esp_conv_panel panel = {0, 0, 0, SIZE_MAX}; panel.last < w->rows || panel.last_pair < esp_conv_pairs(plan);) {
    const esp_conv_lists lists = esp_conv_next_panel(w, plan, panel, list_space, list_floats);
    panel = lists.panel;
    const size_t channels = panel.last - panel.first;
#pragma omp for schedule(static)
    for (int part = 0; part < threads; part++) {
      esp_conv_make_lists(w, values, plan, &lists, panel.first + esp_part(channels, part, threads),
                          panel.first + esp_part(channels, part + 1, threads));
    }
#pragma omp for schedule(static)
    for (size_t task = 0; task < ranges * parts; task++) {
      const size_t range = task / parts, part = task % parts;
      const esp_conv_outputs outputs = {bias,
                                        base,
                                        y,
                                        panel.first + esp_part(channels, part, parts),
                                        panel.first + esp_part(channels, part + 1, parts),
                                        plane,
                                        stream};
      esp_conv_walk(&call, &lists, &outputs, esp_part(rows, range, ranges), esp_part(rows, range + 1, ranges), x, y,
                    workspace + task * plan->band_floats);
    }
  }
}
