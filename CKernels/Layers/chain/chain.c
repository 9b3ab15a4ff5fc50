#include "chain/chain.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

float *esp_chain_moments_of(const tile_call *call, size_t i, const tile *tile, const tile_space *space) {
  float *const kept = call->chain->links[i].moments;
  return kept ? kept + tile->index * 2 * TILE * call->chain->lanes : space->moments[i];
}

static void run_norm(const tile_call *call, const esp_link *link, const tile *tile, const float *x, float *y,
                     float *moments) {
  const size_t tokens = tile->tokens;
  const esp_layer_norm_shape shape = {link->inputs, tokens, tile->samples, call->chain->lanes};
  float *const deviations = moments + tokens * shape.lanes;
  if (call->returns && link->moments)
    esp_layer_norm_of(call->isa)->normalise(x, link->scale, link->shift, &shape, 0, tokens, moments, deviations, y);
  else
    esp_layer_norm_of(call->isa)->forward(x, link->scale, link->shift, link->epsilon, &shape, 0, tokens, y, moments,
                                          deviations);
}

static void run_link(const tile_call *call, size_t i, const tile *tile, const float *x, const float *base, int streams,
                     float *y, const tile_space *space) {
  const esp_link *link = call->chain->links + i;
  const size_t tokens = tile->tokens, lanes = call->chain->lanes;
  switch (link->kind) {
    case ESP_LINK_NORM:
      run_norm(call, link, tile, x, y, esp_chain_moments_of(call, i, tile, space));
      break;
    case ESP_LINK_LINEAR:
      esp_spmm_add_f32(call->isa, &link->w, link->values, link->shift, base, streams, tokens, lanes, x, y, 1);
      break;
    case ESP_LINK_GELU:
      esp_gelu_of(call->isa)->forward(x, 0, tokens * link->inputs * lanes, y);
      break;
  }
}

const esp_link *esp_chain_last(const esp_chain *chain) {
  return chain->links + chain->count - 1;
}

size_t esp_chain_tiles(const esp_chain *chain) {
  return esp_block_count(chain->samples, chain->lanes) * ((chain->tokens + TILE - 1) / TILE);
}

tile esp_chain_tile(const esp_chain *chain, size_t index) {
  const size_t tiles = (chain->tokens + TILE - 1) / TILE, block = index / tiles, first = index % tiles * TILE;
  const size_t left = chain->tokens - first;
  return (tile){index, block * chain->tokens + first, left < TILE ? left : TILE,
                esp_real_lanes(chain->samples, chain->lanes, block)};
}

void esp_chain_keep_inputs(const tile_call *call, const tile *tile, const float *x, size_t count,
                           const tile_space *space) {
  for (size_t i = 0; i < count; i++)
    run_link(call, i, tile, i == 0 ? x : space->inputs[i], NULL, 0, space->inputs[i + 1], space);
}

void esp_chain_run_last(const tile_call *call, const tile *tile, const float *x, const float *base, int streams,
                        float *y, const tile_space *space) {
  const size_t last = call->chain->count - 1;
  run_link(call, last, tile, last == 0 ? x : space->inputs[last], base, streams, y, space);
}

// ---- Workspaces

static size_t widest_of(const esp_chain *chain) {
  size_t widest = 0;
  for (size_t i = 0; i < chain->count; i++) {
    const esp_link *link = chain->links + i;
    widest = link->inputs > widest ? link->inputs : widest;
    widest = link->outputs > widest ? link->outputs : widest;
  }
  return widest;
}

/// Floats of one tile's activations and moments: a multiple of a cache line's.
static size_t floats_of_tile(const esp_chain *chain, size_t features) {
  return (TILE * features * chain->lanes + 15) / 16 * 16;
}

tile_space esp_chain_space(const esp_chain *chain, float *workspace) {
  tile_space space;
  float *at = workspace;
  for (size_t i = 0; i < chain->count; i++) {
    space.inputs[i] = at;
    if (i > 0) at += floats_of_tile(chain, chain->links[i].inputs);
    space.moments[i] = at;
    if (chain->links[i].kind == ESP_LINK_NORM) at += floats_of_tile(chain, 2);
  }
  space.slopes[0] = at;
  space.slopes[1] = at + floats_of_tile(chain, widest_of(chain));
  return space;
}

size_t esp_chain_floats(const esp_chain *chain) {
  size_t floats = 2 * floats_of_tile(chain, widest_of(chain));
  for (size_t i = 0; i < chain->count; i++) {
    if (i > 0) floats += floats_of_tile(chain, chain->links[i].inputs);
    if (chain->links[i].kind == ESP_LINK_NORM) floats += floats_of_tile(chain, 2);
  }
  return floats;
}

/// The same, whoever's cache lines the workspace begins in.
float *esp_chain_aligned(float *workspace) {
  return (float *)(((uintptr_t)workspace + 63) / 64 * 64);
}

size_t esp_chain_moments(const esp_chain *chain) {
  return esp_chain_tiles(chain) * 2 * TILE * chain->lanes;
}

size_t esp_chain_forward_workspace(const esp_chain *chain, int threads) {
  return (size_t)threads * esp_chain_floats(chain) + 16;
}

// ---- Forward

void esp_chain_forward(esp_isa isa, const esp_chain *chain, const float *x, const float *base, float *restrict y,
                       float *restrict workspace, int threads) {
  assert(chain->count > 0 && chain->count <= ESP_CHAIN_LINKS && chain->lanes <= 32);
  assert(!base || esp_chain_last(chain)->kind == ESP_LINK_LINEAR);
  const tile_call call = {isa, chain, 0};
  const size_t in = chain->links->inputs * chain->lanes, out = esp_chain_last(chain)->outputs * chain->lanes;
  const size_t tiles = esp_chain_tiles(chain), own = esp_chain_floats(chain);
  float *const spaces = esp_chain_aligned(workspace);
  // What would not stay in a second-level cache until it is read.
  const int streams = tiles * TILE * out > 1024 * 1024;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    const tile_space space = esp_chain_space(chain, spaces + (size_t)t * own);
    for (size_t i = esp_part(tiles, t, threads); i < esp_part(tiles, t + 1, threads); i++) {
      const tile tile = esp_chain_tile(chain, i);
      const float *const own_x = x + tile.first * in;
      esp_chain_keep_inputs(&call, &tile, own_x, chain->count - 1, &space);
      esp_chain_run_last(&call, &tile, own_x, base ? base + tile.first * out : NULL, streams, y + tile.first * out,
                         &space);
    }
  }
}
