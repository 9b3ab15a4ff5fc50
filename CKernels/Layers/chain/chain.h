#ifndef ESP_CHAIN_H
#define ESP_CHAIN_H

#include "activation/gelu.h"
#include "elementwise/elementwise.h"
#include "esp_token_chain.h"
#include "layer_norm/layer_norm.h"

/// Tokens of a block that go through the chain together. They share indices and weights of a linear layer, and one
/// group of a norm's gradient.
enum { TILE = GROUP };

/// The tokens first ..< first + tokens, of all blocks', whose first `samples` lanes are real.
typedef struct tile {
  size_t index, first, tokens, samples;
} tile;

typedef struct tile_call {
  esp_isa isa;
  const esp_chain *chain;
  int returns;  // 1 in backward: moments that a norm keeps are there already
} tile_call;

/// A thread's own workspace: one tile's input of each link but the first, norms' means and inverse deviations, and the
/// gradients of one link's input and output.
typedef struct tile_space {
  float *inputs[ESP_CHAIN_LINKS], *moments[ESP_CHAIN_LINKS], *slopes[2];
} tile_space;

const esp_link *esp_chain_last(const esp_chain *chain);
size_t esp_chain_tiles(const esp_chain *chain);
tile esp_chain_tile(const esp_chain *chain, size_t index);
size_t esp_chain_floats(const esp_chain *chain);
tile_space esp_chain_space(const esp_chain *chain, float *workspace);
float *esp_chain_aligned(float *workspace);

/// A tile's means, and behind them inverse deviations, of the norm that is link i.
float *esp_chain_moments_of(const tile_call *call, size_t i, const tile *tile, const tile_space *space);

/// Runs the first `count` links on a tile whose input is x: the inputs of links 1 ... count, and the norms' moments.
void esp_chain_keep_inputs(const tile_call *call, const tile *tile, const float *x, size_t count,
                           const tile_space *space);

/// Then runs the last link: y := base + its output, past the caches where `streams`.
void esp_chain_run_last(const tile_call *call, const tile *tile, const float *x, const float *base, int streams,
                        float *y, const tile_space *space);

#endif
