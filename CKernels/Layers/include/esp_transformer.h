#ifndef ESP_TRANSFORMER_H
#define ESP_TRANSFORMER_H

#include <stddef.h>

#include "esp_runtime.h"

/// What a vision transformer needs besides linear layers. Tokens lie one after the other, each as a block of vectors
/// does (see esp_layers.h): [blocks, tokens, features, lanes], lanes in {1, 8, 16, 32}. What works on vectors takes
/// them as blocks * tokens blocks. A lane beyond the last sample holds anything finite in activations and exactly zero
/// in gradients; what goes in so comes out so, and adds nothing to a sum. Every function is bitwise equal for every
/// `threads`.

// ---- Layer normalisation (Ba, Kiros & Hinton 2016) over each token's features ---------------------------------------

/// Y[b, t, f, l] := scale[f] * (X - mean[b, t, l]) * inverse_deviation[b, t, l] + shift[f], with mean and biased
/// variance over X[b, t, :, l] and inverse_deviation = 1 / sqrt(variance + epsilon).
///
/// mean, inverse_deviation [blocks, tokens, lanes] are outputs too, for backward. Lanes beyond `samples` have zeros
/// there, and Y = shift.
void esp_layer_norm_forward(esp_isa isa, const float *restrict x, const float *scale, const float *shift, float epsilon,
                            size_t samples, size_t features, size_t tokens, size_t lanes, float *restrict y,
                            float *restrict mean, float *restrict inverse_deviation, int threads);

/// Doubles in esp_layer_norm_backward's workspace.
size_t esp_layer_norm_workspace(size_t samples, size_t features, size_t tokens, size_t lanes);

/// Gradients of esp_layer_norm_forward from D, Y's: dx, scale_gradient [features], shift_gradient [features], all
/// overwritten. Sums are taken in float over a few terms (8 features; 16 lanes of 4 tokens), beyond that in double, in
/// an order that the shape decides.
void esp_layer_norm_backward(esp_isa isa, const float *restrict x, const float *restrict d, const float *scale,
                             const float *mean, const float *inverse_deviation, size_t samples, size_t features,
                             size_t tokens, size_t lanes, float *restrict dx, float *scale_gradient,
                             float *shift_gradient, double *workspace, int threads);

// ---- Gaussian error linear unit (Hendrycks & Gimpel 2016), exact ----------------------------------------------------

/// y := x * P(x), P the normal distribution's cumulative function, (1 + erf(x / sqrt 2)) / 2; n elements. The relative
/// error of y is at most 5 units of 2^-24 for x >= 0, and 9 below, tail included, as long as P is a normal number; then
/// y is 0.
void esp_gelu_forward(esp_isa isa, const float *restrict x, size_t n, float *restrict y, int threads);

/// dx := d * (P(x) + x * P'(x)), with x the forward's input.
void esp_gelu_backward(esp_isa isa, const float *restrict x, const float *restrict d, size_t n, float *restrict dx,
                       int threads);

// ---- Attention (Vaswani et al. 2017) between a sample's tokens ------------------------------------------------------

/// Shape of qkv [blocks, tokens, 3 * heads * size, lanes]: q of head 0, q of head 1, ..., then k, then v likewise.
typedef struct esp_attention_shape {
  size_t blocks, heads, size, tokens, lanes;
} esp_attention_shape;

/// Floats in the workspaces.
size_t esp_attention_forward_workspace(const esp_attention_shape *shape, int threads);
size_t esp_attention_backward_workspace(const esp_attention_shape *shape, int threads);

/// Y [blocks, tokens, heads * size, lanes] := softmax(q k' / sqrt(size)) v, for each head and sample, softmax over
/// keys.
///
/// statistics [blocks, heads, 2, tokens, lanes] is an output too, for backward: each query's largest score q k', and 1
/// / the sum of its exponentials. Cost: 4 * tokens^2 * size * heads * blocks * lanes FLOP.
void esp_attention_forward(esp_isa isa, const float *restrict qkv, const esp_attention_shape *shape, float *restrict y,
                           float *restrict statistics, float *restrict workspace, int threads);

/// dqkv (overwritten) := the gradient of qkv from D, Y's, and forward's statistics. The probabilities are computed
/// again, not kept. Cost: 10 * tokens^2 * size * heads * blocks * lanes FLOP.
void esp_attention_backward(esp_isa isa, const float *restrict qkv, const float *restrict d, const float *statistics,
                            const esp_attention_shape *shape, float *restrict dqkv, float *restrict workspace,
                            int threads);

// ---- Tokens ---------------------------------------------------------------------------------------------------------

/// Images [blocks, channels, height, width, lanes] cut in patches of patch x patch pixels, which divides height and
/// width.
typedef struct esp_patch_shape {
  size_t blocks, channels, height, width, patch, lanes;
} esp_patch_shape;

/// Y [blocks, (height / patch) * (width / patch), patch * patch * channels, lanes] := the patches of X as tokens, in
/// row order; feature (p1 * patch + p2) * channels + c is pixel (p1, p2) of channel c.
void esp_patches_forward(esp_isa isa, const float *restrict x, const esp_patch_shape *shape, float *restrict y,
                         int threads);

/// dx := the gradient of X from D, Y's: every element goes back where it came from.
void esp_patches_backward(esp_isa isa, const float *restrict d, const esp_patch_shape *shape, float *restrict dx,
                          int threads);

/// Y[b, t, f, l] := X + embedding[t, f].
void esp_add_positions(esp_isa isa, const float *restrict x, const float *restrict embedding, size_t blocks,
                       size_t tokens, size_t features, size_t lanes, float *restrict y, int threads);

/// Y [blocks, features, lanes] := mean of X over the tokens; dx := D / tokens everywhere.
void esp_mean_of_tokens_forward(esp_isa isa, const float *restrict x, size_t blocks, size_t tokens, size_t features,
                                size_t lanes, float *restrict y, int threads);
void esp_mean_of_tokens_backward(esp_isa isa, const float *restrict d, size_t blocks, size_t tokens, size_t features,
                                 size_t lanes, float *restrict dx, int threads);

#endif
