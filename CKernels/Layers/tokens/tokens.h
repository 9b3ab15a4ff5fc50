#ifndef ESP_TOKENS_H
#define ESP_TOKENS_H

#include "esp_transformer.h"
#include "variants.h"

/// Tokens [blocks, tokens, features, lanes]; row = features * lanes.
typedef struct esp_token_rows {
  size_t tokens, features, lanes;
} esp_token_rows;

/// Numbers of a token that are added up at once, over all tokens.
enum { STRIP = 256 };

static inline size_t esp_strips(const esp_token_rows *s) {
  return (s->features * s->lanes + STRIP - 1) / STRIP;
}

/// Serial kernels on the tokens first ..< last of blocks * tokens; means on the strips first ..< last of blocks *
/// strips.
typedef struct esp_tokens {
  void (*patches_forward)(const float *restrict x, const esp_patch_shape *shape, size_t first, size_t last,
                          float *restrict y);
  void (*patches_backward)(const float *restrict d, const esp_patch_shape *shape, size_t first, size_t last,
                           float *restrict dx);
  void (*add_positions)(const float *restrict x, const float *restrict embedding, const esp_token_rows *shape,
                        size_t first, size_t last, float *restrict y);
  void (*mean_forward)(const float *restrict x, const esp_token_rows *shape, size_t first, size_t last,
                       float *restrict y);
  void (*mean_backward)(const float *restrict d, const esp_token_rows *shape, size_t first, size_t last,
                        float *restrict dx);
} esp_tokens;

extern const esp_tokens esp_tokens_scalar, esp_tokens_avx2;

#endif
