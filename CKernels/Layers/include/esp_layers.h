#ifndef ESP_LAYERS_H
#define ESP_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "esp_runtime.h"
#include "esp_sampling.h"

/// Activations lie in blocks of `lanes` samples, samples innermost: [blocks, channels, positions, lanes], lanes in {1,
/// 8, 16, 32}; positions = height * width of an image, 1 of a vector. `samples` <= blocks * lanes says how many lanes
/// are real: the others pad the last block, hold anything finite in activations and exactly zero in gradients, and
/// never reach a statistic. Every function is bitwise equal for every `threads`.

// ---- Input ----------------------------------------------------------------------------------------------------------

/// Where image n of a batch comes from in its plane: x[c, i, j] = source[i + shift_y, j' + shift_x], j' = flip ?
/// width-1-j : j.
typedef struct esp_placement {
  int16_t shift_y, shift_x;
  uint8_t flip;
} esp_placement;

/// Y[b, c, i, j, l] := (byte / 255 - mean[c]) / deviation[c] of sample n = b * lanes + l.
///
/// images: the data set, one byte a pixel, [count, source_channels, source_height, source_width]; indices [samples]
/// picks images. The image lies centred in a height x width plane of zero bytes (offset (height - source_height) / 2),
/// zeros pad before normalising; placements [samples] (or NULL) then move and flip within that plane, zeros coming in
/// at the border. channels = source_channels, or source_channels = 1 and the plane is repeated. Lanes beyond `samples`
/// become 0.
void esp_pack_images(esp_isa isa, const uint8_t *images, const uint32_t *indices, const esp_placement *placements,
                     size_t source_channels, size_t source_height, size_t source_width, size_t channels, size_t height,
                     size_t width, const float *mean, const float *deviation, size_t samples, size_t lanes,
                     float *restrict y, int threads);

/// Y[b, c, i, j, l] := the number that `esp_pack_images` would find there, images being floats that are normalised
/// already; zeros pad them.
void esp_pack_floats(esp_isa isa, const float *images, const uint32_t *indices, const esp_placement *placements,
                     size_t source_channels, size_t source_height, size_t source_width, size_t channels, size_t height,
                     size_t width, size_t samples, size_t lanes, float *restrict y, int threads);

// ---- Batch normalisation (Ioffe & Szegedy 2015), with an optional residual and ReLU in the same pass
// -----------------

/// What batch normalisation works on: y = act(scale[c] * (x - mean[c]) / sqrt(variance[c] + epsilon) + shift[c] +
/// residual); act = ReLU where `relu`, else the identity.
typedef struct esp_batch_norm {
  size_t channels, positions, samples, lanes;
  const float *scale, *shift;  // [channels]
  float epsilon;
  int relu;
} esp_batch_norm;

/// Doubles that the functions below work in.
size_t esp_batch_norm_workspace(const esp_batch_norm *norm);

/// mean[c], variance[c] := mean and biased variance of X[:, c, :, :] over the real samples and all positions; Y by
/// them. Padding lanes become 0.
///
/// residual: as X, or NULL for none. X and the residual may be the same. Moments are summed in double per (block,
/// channel) around one of its elements and merged in block order (Chan et al. 1983).
void esp_batch_norm_train(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *residual,
                          float *restrict y, float *restrict mean, float *restrict variance, double *workspace,
                          int threads);

/// Y by a given mean and variance [channels].
void esp_batch_norm_forward(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *residual,
                            const float *mean, const float *variance, float *restrict y, int threads);

/// Gradients of esp_batch_norm_train at its X, Y, mean and variance, for the gradient D of Y: dx (zero in padding
/// lanes), scale_gradient [channels], shift_gradient [channels], all overwritten. Where `relu`, D counts only where Y >
/// 0.
///
/// y: needed with `relu` and a residual; NULL says that there was no residual, so that the sign follows from X.
/// residual_gradient: receives D where it counts; needed with `relu` and a residual, else NULL (without ReLU the
/// residual's gradient is D itself). dx or residual_gradient, one of them, may be D.
/// dx_sum [channels], or NULL: the sums of dx, as esp_bias_gradient(dx) would give them: the gradient of a bias in
/// front.
void esp_batch_norm_backward(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                             const float *mean, const float *variance, float *dx, float *residual_gradient,
                             float *restrict scale_gradient, float *restrict shift_gradient, float *restrict dx_sum,
                             double *workspace, int threads);

// Batch normalisation of a batch whose samples several processes share is the same in parts: each takes the moments of
// its own, which are merged elsewhere, then esp_batch_norm_forward; and backward in two halves.

/// mean[c], variance[c] := as esp_batch_norm_train has them.
void esp_batch_norm_moments(esp_isa isa, const esp_batch_norm *norm, const float *x, float *restrict mean,
                            float *restrict variance, double *workspace, int threads);

/// scale_gradient, shift_gradient [channels] := the parts of these samples, at a given mean and variance.
///
/// y, residual_gradient: as in esp_batch_norm_backward.
void esp_batch_norm_reduce(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                           const float *mean, const float *variance, float *residual_gradient,
                           float *restrict scale_gradient, float *restrict shift_gradient, double *workspace,
                           int threads);

/// dx := the gradient of these samples, once esp_batch_norm_reduce has run on all: scale_sums, shift_sums [channels]
/// are the sums of what it returned, `count` the numbers a channel of all samples.
///
/// dx, residual_gradient, dx_sum: as in esp_batch_norm_backward; residual_gradient is read.
void esp_batch_norm_correct(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                            const float *mean, const float *variance, const double *scale_sums,
                            const double *shift_sums, size_t count, float *dx, float *residual_gradient,
                            float *restrict dx_sum, double *workspace, int threads);

// ---- Shortcut ("option A" of He et al. 2016)
// --------------------------------------------------------------------------

/// Every stride-th row and column of each channel, between `front` and `back` channels of zeros: out_channels = front +
/// in_channels + back, out_height = ceil(in_height / stride), out_width = ceil(in_width / stride).
typedef struct esp_shortcut_shape {
  size_t in_channels, in_height, in_width, stride, front, back;
} esp_shortcut_shape;

/// Y[b, c, i, j, :] := X[b, c - front, stride * i, stride * j, :], zero where there is no such channel.
void esp_shortcut_forward(const float *restrict x, const esp_shortcut_shape *shape, size_t blocks, size_t lanes,
                          float *restrict y, int threads);

/// dx := D where the forward read, else 0.
void esp_shortcut_backward(const float *restrict d, const esp_shortcut_shape *shape, size_t blocks, size_t lanes,
                           float *restrict dx, int threads);

// ---- Elementwise ----------------------------------------------------------------------------------------------------

/// y := max(x, 0), n elements (NaN stays NaN).
void esp_relu_forward(esp_isa isa, const float *restrict x, size_t n, float *restrict y, int threads);

/// dx := y > 0 ? d : 0, with y the forward's output.
void esp_relu_backward(esp_isa isa, const float *restrict y, const float *restrict d, size_t n, float *restrict dx,
                       int threads);

/// y := a + b, n elements. Y may be A or B.
void esp_add(esp_isa isa, const float *a, const float *b, size_t n, float *y, int threads);

/// Inverted dropout: y[i] := x[i] / (1 - probability) where the stream's number i is at least `probability`, else 0.
/// Backward is the same call on the gradient: the mask is drawn again, not kept. Element i of lane l of block b is
/// keyed by sample and feature, so that the mask does not depend on lanes: index = sample * features + feature, samples
/// being counted from `first_sample`.
void esp_dropout(esp_isa isa, esp_random_key key, float probability, const float *restrict x, size_t first_sample,
                 size_t blocks, size_t features, size_t lanes, float *restrict y, int threads);

/// gradient[c] := sum of D[:, c, :, :] (padding lanes are zero by contract). Per block, then in block order, in double.
void esp_bias_gradient(esp_isa isa, const float *d, size_t blocks, size_t channels, size_t positions, size_t lanes,
                       float *gradient, int threads);

// ---- Pooling --------------------------------------------------------------------------------------------------------

typedef struct esp_pool_shape {
  size_t in_height, in_width, out_height, out_width;
  size_t kernel, stride, padding;  // padding <= kernel / 2
} esp_pool_shape;

/// Y := maximum over the kernel's window (padding never wins). planes = blocks * channels.
void esp_max_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                          size_t lanes, float *restrict y, int threads);

/// dx := D routed to the first maximum of each window in row order (as PyTorch), overwritten.
void esp_max_pool_backward(esp_isa isa, const float *restrict x, const float *restrict y, const float *restrict d,
                           const esp_pool_shape *shape, size_t planes, size_t lanes, float *restrict dx, int threads);

/// Y := sum over the window / kernel^2 (padding counts, as PyTorch's default).
void esp_average_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                              size_t lanes, float *restrict y, int threads);
void esp_average_pool_backward(esp_isa isa, const float *restrict d, const esp_pool_shape *shape, size_t planes,
                               size_t lanes, float *restrict dx, int threads);

/// Y [out_height, out_width] := mean over the rows floor(i * in / out) ..< ceil((i + 1) * in / out) and the columns
/// alike (PyTorch's adaptive_avg_pool2d): windows overlap where sizes do not divide. Of the shape only the four sizes
/// count.
void esp_adaptive_average_pool_forward(esp_isa isa, const float *restrict x, const esp_pool_shape *shape, size_t planes,
                                       size_t lanes, float *restrict y, int threads);
/// dx := each D / the window's size, added over the windows in row order.
void esp_adaptive_average_pool_backward(esp_isa isa, const float *restrict d, const esp_pool_shape *shape,
                                        size_t planes, size_t lanes, float *restrict dx, int threads);

/// Y [planes, lanes] := mean of X [planes, positions, lanes] over the positions; dx := D / positions everywhere.
void esp_global_average_forward(esp_isa isa, const float *restrict x, size_t planes, size_t positions, size_t lanes,
                                float *restrict y, int threads);
void esp_global_average_backward(esp_isa isa, const float *restrict d, size_t planes, size_t positions, size_t lanes,
                                 float *restrict dx, int threads);

// ---- Loss -----------------------------------------------------------------------------------------------------------

/// Softmax cross-entropy with label smoothing e: target = (1 - e) * onehot + e / classes.
///
/// logits [blocks, classes, lanes]; labels [samples] < classes. Returns the SUM of the losses in double (fixed order:
/// by sample); *correct receives the number of samples whose largest logit (first of ties) is the label. If d is not
/// NULL it receives (softmax - target) * gradient_scale; padding lanes 0. A loss that is not finite is returned as it
/// is.
double esp_softmax_cross_entropy(esp_isa isa, const float *logits, const uint32_t *labels, float label_smoothing,
                                 float gradient_scale, size_t classes, size_t samples, size_t lanes, float *d,
                                 size_t *correct);

/// How many samples' labels are among their k largest logits. Of equal logits those of lower classes come first, so
/// that k = 1 counts what esp_softmax_cross_entropy does; a logit that is not a number counts as the largest of all.
size_t esp_top_k_correct(esp_isa isa, const float *logits, const uint32_t *labels, size_t k, size_t classes,
                         size_t samples, size_t lanes);

// ---- Optimizer ------------------------------------------------------------------------------------------------------

/// PyTorch's SGD: g' = g + weight_decay * w; v = momentum * v + g'; w -= learning_rate * v. v starts at zero (so the
/// first step has v = g'). n elements.
void esp_sgd(esp_isa isa, float *restrict w, const float *restrict g, float *restrict v, size_t n, float learning_rate,
             float momentum, float weight_decay, int threads);

/// What one step of AdamW (Loshchilov & Hutter 2019) multiplies by, for a learning rate r, a weight decay d and step t.
typedef struct esp_adamw {
  float keep;             // 1 - r * d
  float gain1;            // 1 - beta1
  float beta2, gain2;     // gain2 = 1 - beta2
  float step_size;        // r / (1 - beta1^t)
  float root_correction;  // sqrt(1 - beta2^t)
  float epsilon;
} esp_adamw;

/// PyTorch's AdamW: w *= keep; m += gain1 * (g - m); v = beta2 * v + gain2 * g^2;
/// w -= step_size * m / (sqrt(v) / root_correction + epsilon). m and v start at zero. n elements.
void esp_adamw_step(esp_isa isa, const esp_adamw *rule, const float *restrict g, size_t n, float *restrict w,
                    float *restrict m, float *restrict v, int threads);

/// The sum of x[i]^2 in double, taken over 64 equal parts of the n elements and added in their order.
double esp_square_sum(esp_isa isa, const float *x, size_t n, int threads);

/// x *= factor, n elements.
void esp_scale(esp_isa isa, float factor, size_t n, float *x, int threads);

/// 1 where every element is finite, else 0.
int esp_all_finite(esp_isa isa, const float *x, size_t n, int threads);

#endif
