#include <assert.h>
#include <string.h>

#include "chain/chain.h"

/// What a backward pass reads and writes, and in how many parts; `sums` [parts, sums of all links] are the parts'
/// gradients of scales and shifts.
typedef struct backward_call {
  tile_call call;
  const float *x, *d, *base;
  float *dx;
  float *const *partials;
  double *sums;
  size_t parts;
} backward_call;

/// Doubles that a part adds a link's gradients of scale and shift in.
static size_t sums_of_link(const esp_link *link) {
  return link->kind == ESP_LINK_NORM ? 2 * link->inputs : link->shift ? link->outputs : 0;
}

/// The same of the first `count` links.
static size_t sums_of_links(const esp_chain *chain, size_t count) {
  size_t sums = 0;
  for (size_t i = 0; i < count; i++) sums += sums_of_link(chain->links + i);
  return sums;
}

size_t esp_chain_backward_workspace(const esp_chain *chain, int threads) {
  return (size_t)threads * esp_chain_floats(chain) + 16 + 2 * ESP_CHAIN_PARTS * sums_of_links(chain, chain->count);
}

/// Where a part adds up link i's weight gradient, in the transposed order where something goes back through the link.
static float *weight_sums(const backward_call *b, size_t part, size_t i) {
  return b->call.chain->links[i].weight_gradient ? b->partials[i * ESP_CHAIN_PARTS + part] : NULL;
}

/// Where a tile's gradients go on their way through one link: dx (NULL: nowhere) := base + the gradient of x from d.
typedef struct tile_gradients {
  const float *x, *d, *base;
  float *dx;
  float *weights;  // a part's, added to where `accumulates`
  int accumulates;
  double *sums;
} tile_gradients;

static void return_linear(const tile_call *call, const esp_link *link, size_t tokens, const tile_gradients *g) {
  const size_t lanes = call->chain->lanes;
  const esp_csr *const t = &link->transposed;
  if (g->weights && g->dx)
    esp_linear_backward_f32(call->isa, t, link->transposed_values, tokens, lanes, g->x, g->d, g->base, g->dx,
                            g->accumulates, g->weights, 1);
  else if (g->weights)
    esp_sddmm_add_f32(call->isa, &link->w, tokens, lanes, g->x, g->d, g->accumulates, g->weights, 1);
  else if (g->dx)
    esp_spmm_add_f32(call->isa, t, link->transposed_values, NULL, g->base, 0, tokens, lanes, g->d, g->dx, 1);
}

static void return_through(const tile_call *call, const esp_link *link, const tile *tile, const tile_space *space,
                           const float *moments, const tile_gradients *g) {
  const size_t tokens = tile->tokens, lanes = call->chain->lanes;
  const esp_layer_norm_shape shape = {link->inputs, tokens, tile->samples, lanes};
  switch (link->kind) {
    case ESP_LINK_NORM:
      esp_layer_norm_of(call->isa)->backward(g->x, g->d, link->scale, moments, moments + tokens * lanes, g->base,
                                             &shape, 0, 1, g->dx ? g->dx : space->slopes[0], g->sums);
      break;
    case ESP_LINK_LINEAR:
      if (link->shift) esp_elementwise_of(call->isa)->add_tokens(g->d, tokens, link->outputs, lanes, g->sums);
      return_linear(call, link, tokens, g);
      break;
    case ESP_LINK_GELU:
      assert(!g->base);
      if (g->dx) esp_gelu_of(call->isa)->backward(g->x, g->d, 0, tokens * link->inputs * lanes, g->dx);
      break;
  }
}

/// One tile's way back through all links.
static void return_tile(const backward_call *b, const tile *tile, const tile_space *space, size_t part, int is_first) {
  const esp_chain *chain = b->call.chain;
  const size_t in = tile->first * chain->links->inputs * chain->lanes;
  const float *d = b->d + tile->first * esp_chain_last(chain)->outputs * chain->lanes;
  const int ends_in_norm = esp_chain_last(chain)->kind == ESP_LINK_NORM;
  double *const sums = b->sums + part * sums_of_links(chain, chain->count);
  esp_chain_keep_inputs(&b->call, tile, b->x + in, chain->count - 1, space);
  if (ends_in_norm) esp_chain_run_last(&b->call, tile, b->x + in, NULL, 0, space->slopes[0], space);
  for (size_t i = chain->count; i-- > 0;) {
    const tile_gradients gradients = {
        .x = i == 0 ? b->x + in : space->inputs[i],
        .d = d,
        .base = i == 0 && b->base ? b->base + in : NULL,
        .dx = i > 0   ? space->slopes[i % 2]
              : b->dx ? b->dx + in
                      : NULL,
        .weights = weight_sums(b, part, i),
        .accumulates = !is_first,
        .sums = sums + sums_of_links(chain, i),
    };
    return_through(&b->call, chain->links + i, tile, space, esp_chain_moments_of(&b->call, i, tile, space), &gradients);
    d = gradients.dx;
  }
}

static void run_part(const backward_call *b, size_t part, const tile_space *space) {
  const esp_chain *chain = b->call.chain;
  const size_t tiles = esp_chain_tiles(chain), sums = sums_of_links(chain, chain->count);
  const size_t first = esp_part(tiles, part, b->parts);
  memset(b->sums + part * sums, 0, sums * sizeof *b->sums);
  for (size_t i = first; i < esp_part(tiles, part + 1, b->parts); i++) {
    const tile tile = esp_chain_tile(chain, i);
    return_tile(b, &tile, space, part, i == first);
  }
}

/// Adds up the parts' gradients of link i's parameters.
static void add_parts(const backward_call *b, size_t i) {
  const esp_chain *chain = b->call.chain;
  const esp_link *link = chain->links + i;
  const size_t all = sums_of_links(chain, chain->count), own = sums_of_link(link);
  const uint64_t nnz = link->weight_gradient ? link->w.row_starts[link->w.rows] : 0;
  for (uint64_t k = 0; k < nnz; k++) {
    float sum = weight_sums(b, 0, i)[k];
    for (size_t part = 1; part < b->parts; part++) sum += weight_sums(b, part, i)[k];
    link->weight_gradient[link->permutation ? link->permutation[k] : k] = sum;
  }
  for (size_t k = 0; k < own; k++) {
    double sum = 0;
    for (size_t part = 0; part < b->parts; part++) sum += b->sums[part * all + sums_of_links(chain, i) + k];
    if (link->kind == ESP_LINK_NORM && k < link->inputs)
      link->scale_gradient[k] = (float)sum;
    else
      link->shift_gradient[link->kind == ESP_LINK_NORM ? k - link->inputs : k] = (float)sum;
  }
}

void esp_chain_backward(esp_isa isa, const esp_chain *chain, const float *x, const float *d, const float *base,
                        float *dx, float *const *partials, float *restrict workspace, int threads) {
  assert(chain->count > 0 && chain->count <= ESP_CHAIN_LINKS && chain->lanes <= 32 && chain->samples > 0);
  const size_t own = esp_chain_floats(chain), tiles = esp_chain_tiles(chain);
  float *const spaces = esp_chain_aligned(workspace);
  const backward_call call = {
      .call = {isa, chain, 1},
      .x = x,
      .d = d,
      .base = base,
      .dx = dx,
      .partials = partials,
      .sums = (double *)(spaces + (size_t)threads * own),
      .parts = tiles < ESP_CHAIN_PARTS ? tiles : ESP_CHAIN_PARTS,
  };
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int t = 0; t < threads; t++) {
      const tile_space space = esp_chain_space(chain, spaces + (size_t)t * own);
      for (size_t p = esp_part(call.parts, t, threads); p < esp_part(call.parts, t + 1, threads); p++)
        run_part(&call, p, &space);
    }
#pragma omp for schedule(static)
    for (size_t i = 0; i < chain->count; i++) add_parts(&call, i);
  }
}
