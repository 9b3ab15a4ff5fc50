#ifndef ESP_DENSE_H
#define ESP_DENSE_H

#include "esp_sparse_conv.h"

/// Dense products on OpenBLAS for the methods that are dense by nature, on the same activation layout as the sparse
/// kernels. OpenBLAS runs single-threaded inside; the product is cut into fixed tiles, so that results are bitwise
/// equal for every `threads`.

/// Sets OpenBLAS to one thread of its own. Call once before the products.
void esp_dense_prepare(void);

/// OpenBLAS's version and core, e.g. "OpenBLAS 0.3.21 ... Zen".
const char *esp_dense_library(void);

/// A dense convolution's workspace in floats; a linear layer's is 0. Holds one im2col band a thread.
size_t esp_dense_conv_workspace(const esp_conv_shape *shape, size_t lanes, int threads);

/// Y := W X + bias; W row-major [rows, columns]; X [blocks, columns, lanes]; Y [blocks, rows, lanes]; bias [rows] or
/// NULL.
void esp_dense_linear_forward(const float *w, const float *bias, size_t rows, size_t columns, size_t blocks,
                              size_t lanes, const float *x, float *y, int threads);

/// DX := W' D.
void esp_dense_linear_input_gradient(const float *w, size_t rows, size_t columns, size_t blocks, size_t lanes,
                                     const float *d, float *dx, int threads);

/// G := D X' summed over blocks and lanes.
void esp_dense_linear_weight_gradient(size_t rows, size_t columns, size_t blocks, size_t lanes, const float *x,
                                      const float *d, float *g, int threads);

/// The same three for a convolution (see esp_sparse_conv.h for layouts; W row-major [out_channels, in_channels * kh *
/// kw]).
void esp_dense_conv_forward(const float *w, const float *bias, const esp_conv_shape *shape, size_t blocks, size_t lanes,
                            const float *x, float *y, float *workspace, int threads);
void esp_dense_conv_input_gradient(const float *w, const esp_conv_shape *shape, size_t blocks, size_t lanes,
                                   const float *d, float *dx, float *workspace, int threads);
void esp_dense_conv_weight_gradient(const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *x,
                                    const float *d, float *g, float *workspace, int threads);

/// C := A B in row-major order on OpenBLAS, one call a thread: what the sparse products are measured against.
///
/// A is [m, k], B [k, n], C [m, n]; where a flag is not 0, that operand is stored transposed. Rows of C are split
/// evenly among the threads, each a multiple of 16. lda, ldb: numbers from one stored row to the next; C's is n. Call
/// esp_dense_prepare first. Cost: 2 * m * n * k FLOP.
void esp_dense_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                    const float *b, size_t ldb, float *c, int threads);

#endif
