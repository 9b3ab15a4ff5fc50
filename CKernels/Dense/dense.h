#ifndef ESP_DENSE_INTERNAL_H
#define ESP_DENSE_INTERNAL_H

#include <cblas.h>

#include "include/esp_dense.h"

/// Tiles depend on shapes alone, never on the number of threads: each is one sgemm (or one chain of sgemms in a fixed
/// order), so that who computes it changes no bit.

static inline size_t esp_min(size_t a, size_t b) {
  return a < b ? a : b;
}
static inline size_t esp_max(size_t a, size_t b) {
  return a > b ? a : b;
}
static inline size_t esp_ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/// C := A B + beta C in row-major order; A is [m, k], B [k, n], each read transposed where its flag says so.
static inline void esp_sgemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, const float *a,
                             size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc) {
  cblas_sgemm(CblasRowMajor, ta, tb, (int)m, (int)n, (int)k, 1.0f, a, (int)lda, b, (int)ldb, beta, c, (int)ldc);
}

/// Number of rows of the im2col matrix: in_channels * kernel_height * kernel_width.
static inline size_t esp_patch_size(const esp_conv_shape *s) {
  return s->in_channels * s->kernel_height * s->kernel_width;
}

static inline size_t esp_positions(const esp_conv_shape *s) {
  return s->out_height * s->out_width;
}

/// 1 where the im2col matrix is the input itself.
int esp_is_pointwise(const esp_conv_shape *shape);

/// Output positions of one band of `rows` im2col rows: about half a megabyte, but enough to fill a product.
size_t esp_band_positions(const esp_conv_shape *shape, size_t rows, size_t lanes);

/// Rows of the im2col matrix in one tile of the weight gradient.
size_t esp_weight_tile(const esp_conv_shape *shape);

/// Input channels in one tile of the input gradient.
size_t esp_channel_tile(const esp_conv_shape *shape);

/// Floats of workspace that each thread owns.
size_t esp_thread_workspace(const esp_conv_shape *shape, size_t lanes);

/// A range of im2col rows and of output positions.
typedef struct esp_band {
  size_t first_row, row_end;
  size_t first_position, position_end;
} esp_band;

/// COLUMNS[row - first_row, position - first_position, l] := the padded input of one block, x [in_channels, in_height,
/// in_width, lanes], that weight `row` meets at that output position.
void esp_im2col(const esp_conv_shape *shape, esp_band band, size_t lanes, const float *restrict x,
                float *restrict columns);

/// The transpose: adds COLUMNS into dx, row by row and position by position.
void esp_col2im(const esp_conv_shape *shape, esp_band band, size_t lanes, const float *restrict columns,
                float *restrict dx);

#endif
