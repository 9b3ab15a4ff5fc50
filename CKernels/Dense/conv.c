#include <assert.h>
#include <string.h>

#include "dense.h"

int omp_get_thread_num(void);

/// Sizes that all three products share.
typedef struct plan {
  const esp_conv_shape *shape;
  size_t lanes, patch, positions;
  size_t x_block, y_block;  // floats of one block of X and of Y
  size_t thread_workspace;
  int pointwise;
} plan;

static plan make_plan(const esp_conv_shape *s, size_t lanes) {
  assert(s->input_dilation == 1);
  plan p = {s, lanes, esp_patch_size(s), esp_positions(s), 0, 0, esp_thread_workspace(s, lanes), esp_is_pointwise(s)};
  p.x_block = s->in_channels * s->in_height * s->in_width * lanes;
  p.y_block = s->out_channels * p.positions * lanes;
  return p;
}

/// A matrix in row-major order.
typedef struct matrix {
  const float *data;
  size_t stride;
} matrix;

/// The im2col matrix of one band: the input itself where it can be, else built in `workspace`.
static matrix band_columns(const plan *p, esp_band band, const float *x, float *workspace) {
  if (p->pointwise) {
    matrix m = {x + (band.first_row * p->positions + band.first_position) * p->lanes, p->positions * p->lanes};
    return m;
  }
  esp_im2col(p->shape, band, p->lanes, x, workspace);
  matrix m = {workspace, (band.position_end - band.first_position) * p->lanes};
  return m;
}

static void fill_bias(const plan *p, esp_band band, const float *bias, float *y) {
  size_t count = (band.position_end - band.first_position) * p->lanes;
  for (size_t o = 0; o < p->shape->out_channels; ++o)
    for (size_t i = 0; i < count; ++i) y[o * p->positions * p->lanes + i] = bias[o];
}

static void forward_band(const plan *p, esp_band band, const float *w, const float *bias, const float *x, float *y,
                         float *workspace) {
  matrix columns = band_columns(p, band, x, workspace);
  float *out = y + band.first_position * p->lanes;
  if (bias) fill_bias(p, band, bias, out);
  esp_sgemm(CblasNoTrans, CblasNoTrans, p->shape->out_channels, (band.position_end - band.first_position) * p->lanes,
            p->patch, w, p->patch, columns.data, columns.stride, bias ? 1.0f : 0.0f, out, p->positions * p->lanes);
}

void esp_dense_conv_forward(const float *w, const float *bias, const esp_conv_shape *shape, size_t blocks, size_t lanes,
                            const float *x, float *y, float *workspace, int threads) {
  plan p = make_plan(shape, lanes);
  size_t width = esp_band_positions(shape, p.patch, lanes);
  size_t bands = esp_ceil_div(p.positions, width);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < blocks * bands; ++item) {
    size_t block = item / bands, first = item % bands * width;
    esp_band band = {0, p.patch, first, esp_min(first + width, p.positions)};
    forward_band(&p, band, w, bias, x + block * p.x_block, y + block * p.y_block,
                 workspace + (size_t)omp_get_thread_num() * p.thread_workspace);
  }
}

/// dx := the rows of W' D that belong to the input channels first ..< end, of one block, summed band after band.
static void input_gradient_tile(const plan *p, size_t first, size_t end, const float *w, const float *d, float *dx,
                                float *workspace) {
  const esp_conv_shape *s = p->shape;
  size_t taps = s->kernel_height * s->kernel_width, plane = s->in_height * s->in_width * p->lanes;
  size_t rows = (end - first) * taps, image_stride = p->positions * p->lanes;
  size_t width = esp_band_positions(s, esp_channel_tile(s) * taps, p->lanes);
  if (!p->pointwise) memset(dx + first * plane, 0, (end - first) * plane * sizeof(float));
  for (size_t position = 0; position < p->positions; position += width) {
    esp_band band = {first * taps, end * taps, position, esp_min(position + width, p->positions)};
    size_t count = (band.position_end - position) * p->lanes;
    float *out = p->pointwise ? dx + first * plane + position * p->lanes : workspace;
    esp_sgemm(CblasTrans, CblasNoTrans, rows, count, s->out_channels, w + band.first_row, p->patch,
              d + position * p->lanes, image_stride, 0.0f, out, p->pointwise ? image_stride : count);
    if (!p->pointwise) esp_col2im(s, band, p->lanes, workspace, dx);
  }
}

void esp_dense_conv_input_gradient(const float *w, const esp_conv_shape *shape, size_t blocks, size_t lanes,
                                   const float *d, float *dx, float *workspace, int threads) {
  plan p = make_plan(shape, lanes);
  size_t tile = esp_channel_tile(shape), tiles = esp_ceil_div(shape->in_channels, tile);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < blocks * tiles; ++item) {
    size_t block = item / tiles, first = item % tiles * tile;
    input_gradient_tile(&p, first, esp_min(first + tile, shape->in_channels), w, d + block * p.y_block,
                        dx + block * p.x_block, workspace + (size_t)omp_get_thread_num() * p.thread_workspace);
  }
}

/// The columns first ..< end of G, summed block after block and band after band.
static void weight_gradient_tile(const plan *p, size_t first, size_t end, size_t blocks, const float *x, const float *d,
                                 float *g, float *workspace) {
  size_t width = esp_band_positions(p->shape, esp_weight_tile(p->shape), p->lanes);
  float beta = 0.0f;
  for (size_t block = 0; block < blocks; ++block) {
    for (size_t position = 0; position < p->positions; position += width) {
      esp_band band = {first, end, position, esp_min(position + width, p->positions)};
      matrix columns = band_columns(p, band, x + block * p->x_block, workspace);
      esp_sgemm(CblasNoTrans, CblasTrans, p->shape->out_channels, end - first,
                (band.position_end - position) * p->lanes, d + block * p->y_block + position * p->lanes,
                p->positions * p->lanes, columns.data, columns.stride, beta, g + first, p->patch);
      beta = 1.0f;
    }
  }
}

void esp_dense_conv_weight_gradient(const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *x,
                                    const float *d, float *g, float *workspace, int threads) {
  plan p = make_plan(shape, lanes);
  size_t tile = esp_weight_tile(shape), tiles = esp_ceil_div(p.patch, tile);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < tiles; ++item) {
    size_t first = item * tile;
    weight_gradient_tile(&p, first, esp_min(first + tile, p.patch), blocks, x, d, g,
                         workspace + (size_t)omp_get_thread_num() * p.thread_workspace);
  }
}
