#ifndef ESP_TOKEN_CHAIN_H
#define ESP_TOKEN_CHAIN_H

#include "esp_sparse_matmul.h"

/// Layers that take each token by itself, one after the other, a few tokens at a time: what lies between them stays in
/// the second-level cache, and backward makes it again from the chain's input instead of keeping it. Activations are
/// [blocks, tokens, features, lanes], as esp_transformer.h says. Every function is bitwise equal for every `threads`.

typedef enum esp_link_kind { ESP_LINK_NORM, ESP_LINK_LINEAR, ESP_LINK_GELU } esp_link_kind;

/// One layer of a chain, from `inputs` to `outputs` features; NULL and zero where a kind has no use for a field.
typedef struct esp_link {
  esp_link_kind kind;
  size_t inputs, outputs;
  esp_csr w, transposed;  // a linear layer's structure, and its transposed one (backward)
  const float *values, *transposed_values;
  const uint32_t *permutation;  // of the transposed structure; NULL with it, where nothing goes back through the link
  const float *scale;           // a norm's
  const float *shift;           // a norm's, or a linear layer's bias or NULL
  float epsilon;                // a norm's
  float *moments;  // a norm's, [esp_chain_moments], or NULL: forward keeps them, so that backward need not sum up again
  // Backward's outputs, all overwritten
  float *weight_gradient;  // [nnz], at the active connections; NULL: is not wanted
  float *scale_gradient;   // [inputs]
  float *shift_gradient;   // [outputs], where there is a shift
} esp_link;

/// A chain's most links.
enum { ESP_CHAIN_LINKS = 8 };

typedef struct esp_chain {
  const esp_link *links;
  size_t count;  // 1 ... ESP_CHAIN_LINKS
  size_t samples, tokens, lanes;
} esp_chain;

/// Backward adds up gradients of parameters in so many parts, each over its own tokens, and then the parts in order: as
/// many threads can work at once.
enum { ESP_CHAIN_PARTS = 8 };

/// Floats that a norm's moments take.
size_t esp_chain_moments(const esp_chain *chain);

/// Floats in the workspaces.
size_t esp_chain_forward_workspace(const esp_chain *chain, int threads);
size_t esp_chain_backward_workspace(const esp_chain *chain, int threads);

/// Y [blocks, tokens, outputs of the last link, lanes] := base + the links applied to X in order; base has Y's shape or
/// is NULL, which stands for zeros, and needs a linear layer as the last link. Y is disjoint from X and base.
void esp_chain_forward(esp_isa isa, const esp_chain *chain, const float *x, const float *base, float *restrict y,
                       float *restrict workspace, int threads);

/// dx := base + the gradient of X from D, Y's, and the links' gradients. dx [X's shape] or NULL where it is not wanted;
/// base [X's shape] or NULL; it may be D, and dx may take base's place, but not D's with a single link. The first link
/// is no GELU where there is a base.
///
/// partials [count, ESP_CHAIN_PARTS]: nnz floats each for a linear layer whose gradient is wanted. A connection's
/// gradient is the sum of its parts in order, and a part's of esp_linear_backward_f32's sums over up to four tokens at
/// a time; of esp_sddmm_f32's for a first link that nothing goes back through.
void esp_chain_backward(esp_isa isa, const esp_chain *chain, const float *x, const float *d, const float *base,
                        float *dx, float *const *partials, float *restrict workspace, int threads);

#endif
