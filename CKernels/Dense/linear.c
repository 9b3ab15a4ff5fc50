#include "dense.h"

/// Rows of W (or columns, in the input gradient) in one tile.
enum { TILE = 64, GRADIENT_TILE_COLUMNS = 512 };

/// y [rows, lanes] := bias.
static void fill_bias(const float *bias, size_t rows, size_t lanes, float *restrict y) {
  for (size_t o = 0; o < rows; ++o)
    for (size_t l = 0; l < lanes; ++l) y[o * lanes + l] = bias[o];
}

void esp_dense_linear_forward(const float *w, const float *bias, size_t rows, size_t columns, size_t blocks,
                              size_t lanes, const float *x, float *y, int threads) {
  size_t items = esp_ceil_div(rows, TILE) * blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < items; ++item) {
    // A tile's blocks follow each other, so that its weights stay in the cache.
    size_t first = item / blocks * TILE, block = item % blocks;
    size_t count = esp_min(TILE, rows - first);
    float *out = y + (block * rows + first) * lanes;
    if (bias) fill_bias(bias + first, count, lanes, out);
    esp_sgemm(CblasNoTrans, CblasNoTrans, count, lanes, columns, w + first * columns, columns,
              x + block * columns * lanes, lanes, bias ? 1.0f : 0.0f, out, lanes);
  }
}

void esp_dense_linear_input_gradient(const float *w, size_t rows, size_t columns, size_t blocks, size_t lanes,
                                     const float *d, float *dx, int threads) {
  size_t items = esp_ceil_div(columns, TILE) * blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < items; ++item) {
    size_t first = item / blocks * TILE, block = item % blocks;
    size_t count = esp_min(TILE, columns - first);
    esp_sgemm(CblasTrans, CblasNoTrans, count, lanes, rows, w + first, columns, d + block * rows * lanes, lanes, 0.0f,
              dx + (block * columns + first) * lanes, lanes);
  }
}

void esp_dense_linear_weight_gradient(size_t rows, size_t columns, size_t blocks, size_t lanes, const float *x,
                                      const float *d, float *g, int threads) {
  size_t across = esp_ceil_div(columns, GRADIENT_TILE_COLUMNS);
  size_t items = esp_ceil_div(rows, TILE) * across;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t item = 0; item < items; ++item) {
    size_t row = item / across * TILE, column = item % across * GRADIENT_TILE_COLUMNS;
    size_t row_count = esp_min(TILE, rows - row), column_count = esp_min(GRADIENT_TILE_COLUMNS, columns - column);
    for (size_t block = 0; block < blocks; ++block)
      esp_sgemm(CblasNoTrans, CblasTrans, row_count, column_count, lanes, d + (block * rows + row) * lanes, lanes,
                x + (block * columns + column) * lanes, lanes, block == 0 ? 0.0f : 1.0f, g + row * columns + column,
                columns);
  }
}
