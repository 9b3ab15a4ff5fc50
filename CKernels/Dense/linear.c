#include "dense.h"

/// Blocks are gathered into one matrix of up to WIDTH samples, so that OpenBLAS packs the weights once for all of them.
enum { WIDTH = 128, DEPTH = 128, TILE = 128, TILE_COLUMNS = 256 };

static size_t blocks_in_group(size_t lanes) {
  return esp_max(WIDTH / lanes, 1);
}

/// panel [count, blocks * lanes] := features first ..< first + count of x [blocks, features, lanes].
static void gather(size_t blocks, size_t features, size_t lanes, const float *restrict x, size_t first, size_t count,
                   float *restrict panel) {
  for (size_t f = 0; f < count; ++f)
    for (size_t b = 0; b < blocks; ++b)
      for (size_t l = 0; l < lanes; ++l)
        panel[(f * blocks + b) * lanes + l] = x[(b * features + first + f) * lanes + l];
}

/// The inverse, with a bias for each feature.
static void scatter(size_t blocks, size_t features, size_t lanes, const float *restrict panel, const float *bias,
                    size_t first, size_t count, float *restrict y) {
  for (size_t f = 0; f < count; ++f) {
    float shift = bias ? bias[first + f] : 0.0f;
    for (size_t b = 0; b < blocks; ++b)
      for (size_t l = 0; l < lanes; ++l)
        y[(b * features + first + f) * lanes + l] = panel[(f * blocks + b) * lanes + l] + shift;
  }
}

/// A matrix [outputs, inputs] that is stored as it is, or transposed, with rows `stride` apart.
typedef struct operand {
  const float *data;
  size_t outputs, inputs, stride;
  CBLAS_TRANSPOSE transpose;
} operand;

static const float *operand_at(const operand *a, size_t output, size_t input) {
  return a->transpose == CblasTrans ? a->data + input * a->stride + output : a->data + output * a->stride + input;
}

/// TILE outputs of Y := A X + bias for one group of blocks.
static void product_tile(const operand *a, const float *bias, size_t first, size_t blocks, size_t lanes, const float *x,
                         float *y) {
  float panel[DEPTH * WIDTH], tile[TILE * WIDTH];
  size_t count = esp_min(TILE, a->outputs - first), width = blocks * lanes;
  for (size_t input = 0; input < a->inputs; input += DEPTH) {
    size_t depth = esp_min(DEPTH, a->inputs - input);
    gather(blocks, a->inputs, lanes, x, input, depth, panel);
    esp_sgemm(a->transpose, CblasNoTrans, count, width, depth, operand_at(a, first, input), a->stride, panel, width,
              input == 0 ? 0.0f : 1.0f, tile, width);
  }
  scatter(blocks, a->outputs, lanes, tile, bias, first, count, y);
}

static void product(operand a, const float *bias, size_t blocks, size_t lanes, const float *x, float *y, int threads) {
  size_t group = blocks_in_group(lanes), groups = esp_ceil_div(blocks, group);
  size_t items = esp_ceil_div(a.outputs, TILE) * groups;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < items; ++item) {
    size_t first = item / groups * TILE, block = item % groups * group;
    product_tile(&a, bias, first, esp_min(group, blocks - block), lanes, x + block * a.inputs * lanes,
                 y + block * a.outputs * lanes);
  }
}

void esp_dense_linear_forward(const float *w, const float *bias, size_t rows, size_t columns, size_t blocks,
                              size_t lanes, const float *x, float *y, int threads) {
  operand a = {w, rows, columns, columns, CblasNoTrans};
  product(a, bias, blocks, lanes, x, y, threads);
}

void esp_dense_linear_input_gradient(const float *w, size_t rows, size_t columns, size_t blocks, size_t lanes,
                                     const float *d, float *dx, int threads) {
  operand a = {w, columns, rows, columns, CblasTrans};
  product(a, NULL, blocks, lanes, d, dx, threads);
}

/// TILE x TILE_COLUMNS elements of G, summed group after group.
static void gradient_tile(size_t rows, size_t columns, size_t row, size_t column, size_t blocks, size_t lanes,
                          const float *x, const float *d, float *g) {
  float d_panel[TILE * WIDTH], x_panel[TILE_COLUMNS * WIDTH];
  size_t row_count = esp_min(TILE, rows - row), column_count = esp_min(TILE_COLUMNS, columns - column);
  size_t group = blocks_in_group(lanes);
  for (size_t block = 0; block < blocks; block += group) {
    size_t count = esp_min(group, blocks - block), depth = count * lanes;
    gather(count, rows, lanes, d + block * rows * lanes, row, row_count, d_panel);
    gather(count, columns, lanes, x + block * columns * lanes, column, column_count, x_panel);
    esp_sgemm(CblasNoTrans, CblasTrans, row_count, column_count, depth, d_panel, depth, x_panel, depth,
              block == 0 ? 0.0f : 1.0f, g + row * columns + column, columns);
  }
}

void esp_dense_linear_weight_gradient(size_t rows, size_t columns, size_t blocks, size_t lanes, const float *x,
                                      const float *d, float *g, int threads) {
  size_t across = esp_ceil_div(columns, TILE_COLUMNS);
  size_t items = esp_ceil_div(rows, TILE) * across;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < items; ++item)
    gradient_tile(rows, columns, item / across * TILE, item % across * TILE_COLUMNS, blocks, lanes, x, d, g);
}
