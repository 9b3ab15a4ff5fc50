#include <assert.h>
#include <string.h>

#include "../conv/conv.h"
#include "../sddmm/conv_sddmm.h"

/// Both gradients of a convolution under way.
typedef struct backward_call {
  esp_conv_sddmm_call weights;
  esp_conv_call input;
  esp_conv_lists lists;
  esp_conv_outputs outputs;
  const float *d;
  float *dx;
} backward_call;

/// Whether a band of D's rows makes the same rows of dx, whose connections all are in one panel, and threads have equal
/// shares of the partial sums.
static int reads_once(const esp_conv_shape *shape, const backward_call *call, int threads) {
  const esp_conv_sddmm_plan *weights = &call->weights.plan;
  const esp_conv_plan *input = &call->input.plan;
  const esp_conv_panel panel = call->lists.panel;
  return shape->stride == 1 && shape->out_height == shape->in_height && shape->out_width == shape->in_width &&
         !input->copies && weights->height == input->shape.out_height && weights->chunks == 1 &&
         weights->partial_sums % (size_t)threads == 0 && panel.first == 0 && panel.last == shape->in_channels &&
         panel.first_pair == 0 && panel.last_pair == esp_conv_pairs(input);
}

/// Some units: their part of the weights' gradient, and while their D is in a cache, their rows of dx.
static void run_part(const backward_call *call, size_t p, float *restrict space) {
  const esp_conv_sddmm_plan *plan = &call->weights.plan;
  const uint64_t nnz = call->weights.pattern->row_starts[call->weights.pattern->rows];
  const size_t end = esp_part(plan->units, p + 1, plan->partial_sums);
  for (size_t unit = esp_part(plan->units, p, plan->partial_sums); unit < end; unit++) {
    const esp_conv_sddmm_unit rows = esp_conv_sddmm_unit_of(&call->weights, unit);
    const size_t first = rows.block * plan->height + rows.top;
    const size_t last = (rows.block + rows.blocks - 1) * plan->height + rows.top + rows.rows;
    esp_conv_sddmm_run(&call->weights, unit, p, 0, nnz, space);
    esp_conv_walk(&call->input, &call->lists, &call->outputs, first, last, call->d, call->dx, NULL);
  }
}

static void run(const backward_call *call, const float *transposed_values, float *workspace, int threads) {
  const esp_conv_sddmm_plan *plan = &call->weights.plan;
  const esp_conv_plan *input = &call->input.plan;
  const uint64_t nnz = call->weights.pattern->row_starts[call->weights.pattern->rows];
  const size_t space = esp_conv_sddmm_space(plan), channels = input->shape.out_channels;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int t = 0; t < threads; t++) {
      esp_conv_make_lists(call->input.w, transposed_values, input, &call->lists, esp_part(channels, t, threads),
                          esp_part(channels, t + 1, threads));
    }
#pragma omp for schedule(static)
    for (int t = 0; t < threads; t++) {
      const size_t end = esp_part(plan->partial_sums, t + 1, threads);
      memset(workspace + t * space, 0, plan->x_floats * sizeof *workspace);
      for (size_t p = esp_part(plan->partial_sums, t, threads); p < end; p++) run_part(call, p, workspace + t * space);
    }
#pragma omp for schedule(static)
    for (int t = 0; t < threads; t++) {
      esp_conv_sddmm_add_up(&call->weights, esp_part(nnz, t, threads), esp_part(nnz, t + 1, threads));
    }
  }
}

size_t esp_sparse_conv_backward_workspace(const esp_conv_shape *shape, size_t nnz, size_t blocks, size_t lanes,
                                          int threads) {
  const esp_conv_shape back = esp_conv_input_gradient_shape(shape);
  return esp_sparse_conv_workspace(&back, nnz, lanes, threads) +
         esp_sparse_conv_sddmm_workspace(shape, nnz, blocks, lanes, threads);
}

/// Both by themselves.
static void run_apart(esp_isa isa, const esp_conv_gradients *b, const esp_conv_shape *shape, size_t blocks,
                      size_t lanes, float *workspace, int threads) {
  const esp_conv_shape back = esp_conv_input_gradient_shape(shape);
  if (b->g) esp_sparse_conv_sddmm_f32(isa, b->w, shape, blocks, lanes, b->x, b->d, b->g, workspace, threads);
  if (!b->dx) return;
  esp_sparse_conv_add_f32(isa, b->transposed, b->transposed_values, NULL, b->base, &back, blocks, lanes, b->d, b->dx,
                          workspace, threads);
}

void esp_sparse_conv_backward_f32(esp_isa isa, const esp_conv_gradients *gradients, const esp_conv_shape *shape,
                                  size_t blocks, size_t lanes, float *restrict workspace, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  const esp_csr *w = gradients->w, *transposed = gradients->transposed;
  const uint64_t nnz = w->row_starts[w->rows];
  if (!gradients->g || !gradients->dx || blocks == 0 || nnz == 0) {
    run_apart(isa, gradients, shape, blocks, lanes, workspace, threads);
    return;
  }
  const esp_conv_shape back = esp_conv_input_gradient_shape(shape);
  const esp_conv_plan input = esp_conv_plan_make(&back, lanes);
  const esp_conv_sddmm_plan weights = esp_conv_sddmm_plan_make(shape, nnz, blocks, lanes);
  const size_t plane = shape->in_height * shape->in_width * lanes;
  float *sums = workspace + (size_t)threads * esp_conv_sddmm_space(&weights);
  const backward_call call = {
      .weights = {esp_conv_sddmm_connections_of(isa), w, shape, weights, blocks, gradients->x, gradients->d,
                  gradients->g, sums},
      .input = {input, transposed, esp_conv_compute_of(isa)},
      .lists = esp_conv_next_panel(transposed, &input, (esp_conv_panel){0, 0, 0, SIZE_MAX},
                                   sums + (weights.partial_sums - 1) * nnz, esp_conv_list_floats(&input, nnz)),
      .outputs = {NULL, gradients->base, gradients->dx, 0, shape->in_channels, plane,
                  esp_conv_streams(gradients->dx, lanes, blocks * shape->in_channels * plane)},
      .d = gradients->d,
      .dx = gradients->dx,
  };
  if (reads_once(shape, &call, threads)) {
    run(&call, gradients->transposed_values, workspace, threads);
  } else {
    run_apart(isa, gradients, shape, blocks, lanes, workspace, threads);
  }
}
