#ifndef ESP_SPARSE_CONV_H
#define ESP_SPARSE_CONV_H

#include "esp_sparse_matmul.h"

/// Geometry of a 2-D convolution over images laid out [blocks, channels, height, width, lanes].
///
/// Weights are a CSR matrix [out_channels, in_channels * kernel_height * kernel_width], column = (c * kernel_height +
/// ky)
/// * kernel_width + kx. Output position (y, x) reads the padded, dilated input at (y * stride + ky, x * stride + kx).
/// Input pixel (i, j) lies there at (pad_top + i * input_dilation, pad_left + j * input_dilation); everything else is
/// zero, also below and to the right, as far as the outputs read.
typedef struct esp_conv_shape {
  size_t in_channels, in_height, in_width;
  size_t out_channels, out_height, out_width;
  size_t kernel_height, kernel_width;
  size_t stride;
  size_t pad_top, pad_left;
  size_t input_dilation;  // 1 in a forward convolution; the forward stride in an input gradient
} esp_conv_shape;

/// The geometry that maps an output gradient to the input gradient of `forward` (whose input_dilation is 1), for use
/// with the structure that esp_csr_transpose(w, kernel_height * kernel_width, ...) makes.
/// Requires pad_top < kernel_height and pad_left < kernel_width.
esp_conv_shape esp_conv_input_gradient_shape(const esp_conv_shape *forward);

/// Number of floats that esp_sparse_conv_f32 needs as workspace: for each thread a band of the input, which fits in the
/// second-level cache where one output row's does (nothing where the input is read where it lies), and, for all threads
/// together, lists of connections. These take at most 16,384 floats or 4 (nnz + rows + columns), whichever is more, and
/// beyond 16,384 fewer than rows * columns unless half of the connections or more are active.
size_t esp_sparse_conv_workspace(const esp_conv_shape *shape, size_t nnz, size_t lanes, int threads);

/// Y[b, o, y, x, l] := bias[o] + sum over connections (o; c, ky, kx) of w * Xpadded[b, c, y*stride+ky, x*stride+kx, l].
///
/// X [blocks, in_channels, in_height, in_width, lanes], Y [blocks, out_channels, out_height, out_width, lanes], bias
/// [out_channels] or NULL. Overwrites Y, allocates nothing. Bitwise equal for every `threads`: one thread owns each
/// output element and adds its connections in an order that depends on the row alone.
/// Requires lanes in {1, 8, 16, 32}; X, Y and workspace disjoint.
/// Cost: 2 * nnz * out_height * out_width * blocks * lanes FLOP (connections over zero padding included).
void esp_sparse_conv_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias,
                         const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *restrict x,
                         float *restrict y, float *restrict workspace, int threads);

/// Y := base + what esp_sparse_conv_f32 makes; base [Y's shape], disjoint from Y, or NULL, which stands for zeros.
void esp_sparse_conv_add_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, const float *base,
                             const esp_conv_shape *shape, size_t blocks, size_t lanes, const float *restrict x,
                             float *restrict y, float *restrict workspace, int threads);

/// Number of floats that esp_sparse_conv_sddmm_f32 needs as workspace: for each thread a tile (four numbers a tap, and,
/// unless connections are so few that X is read in place, a zero-padded copy of some input that takes about half of a
/// second-level cache), and up to three partial sums a connection, but fewer than rows * columns of these in all where
/// rows * columns > 16384.
size_t esp_sparse_conv_sddmm_workspace(const esp_conv_shape *shape, size_t nnz, size_t blocks, size_t lanes,
                                       int threads);

/// G[k] := sum over blocks, output positions and lanes of D[b, o, y, x, l] * Xpadded[b, c, y*stride+ky, x*stride+kx, l]
/// for every connection k = (o; c, ky, kx) of `pattern`.
///
/// D [blocks, out_channels, out_height, out_width, lanes]; X as above; G [nnz]; shape->input_dilation = 1. Overwrites
/// G, allocates nothing. Bitwise equal for every `threads`: a connection's sum is taken over tiles that depend on
/// shape, nnz, blocks and lanes alone, which are added up in order into at most four partial sums, and these by a fixed
/// tree. As nnz decides how X is read, two patterns of different nnz may round a connection they share differently.
///
/// Connections may also be given products of D with zeros around X, and of X with zeros around D, which are zero unless
/// D or X is not finite: an infinity or NaN in D may make G NaN at any connection of its output channel, one in X at
/// any connection of its input channel, whether or not the connection's tap meets it. Finite D and X know no such
/// effect.
///
/// Requires lanes in {1, 8, 16, 32}; X, D, G and workspace disjoint.
///
/// Cost: 2 * nnz * out_height * out_width * blocks * lanes FLOP (products with zero padding included).
void esp_sparse_conv_sddmm_f32(esp_isa isa, const esp_csr *pattern, const esp_conv_shape *shape, size_t blocks,
                               size_t lanes, const float *restrict x, const float *restrict d, float *restrict g,
                               float *restrict workspace, int threads);

/// The backward pass of a convolution with weights `w`, at its input X and the gradient D of its output.
typedef struct esp_conv_gradients {
  const esp_csr *w, *transposed;   // and what esp_csr_transpose(w, taps, ...) makes of it
  const float *transposed_values;  // in the transposed structure's order
  const float *x, *d;
  const float *base;  // what dx is added to [dx's shape], or NULL
  float *g, *dx;      // either may be NULL: is not wanted
} esp_conv_gradients;

/// Number of floats that esp_sparse_conv_backward_f32 needs as workspace.
size_t esp_sparse_conv_backward_workspace(const esp_conv_shape *shape, size_t nnz, size_t blocks, size_t lanes,
                                          int threads);

/// G as esp_sparse_conv_sddmm_f32 makes it, and dx as esp_sparse_conv_add_f32 does by the geometry of
/// esp_conv_input_gradient_shape(shape): the same bits, but D is read once for both, a band of rows after the other,
/// where the geometry allows it. The same requirements, for any `threads`.
void esp_sparse_conv_backward_f32(esp_isa isa, const esp_conv_gradients *gradients, const esp_conv_shape *shape,
                                  size_t blocks, size_t lanes, float *restrict workspace, int threads);

#endif
