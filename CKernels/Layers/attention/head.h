#ifndef ESP_ATTENTION_HEAD_H
#define ESP_ATTENTION_HEAD_H

#include "attention/attention.h"

/// One head of one block: q, k, v and the output each tokens of [size, lanes], statistics [2, tokens, lanes].
typedef struct attention_head {
  size_t q, k, v;     // in qkv
  size_t output;      // in y
  size_t statistics;  // in statistics
} attention_head;

static inline attention_head head_of(const esp_attention_shape *s, size_t item) {
  const size_t block = item / s->heads, head = item % s->heads, part = s->heads * s->size * s->lanes;
  const size_t own = head * s->size * s->lanes, q = block * s->tokens * 3 * part + own;
  return (attention_head){q, q + part, q + 2 * part, block * s->tokens * part + own, item * 2 * s->tokens * s->lanes};
}

/// Floats from a token to the next: of the output, and of qkv.
static inline size_t esp_output_stride(const esp_attention_shape *s) {
  return s->heads * s->size * s->lanes;
}

static inline size_t esp_input_stride(const esp_attention_shape *s) {
  return 3 * esp_output_stride(s);
}

/// No variant's vectors, or panels, are wider; arrays in the workspace have room for whole panels.
enum { ESP_ATTENTION_FLOATS = 16, ESP_ATTENTION_PANEL = 8 };

/// Queries that are worked on at once: their scores, of one vector of lanes, stay in the L2 cache.
static inline size_t esp_attention_queries(const esp_attention_shape *s) {
  const size_t some = 4096 / s->tokens, least = some < 16 ? 16 : some;
  return least < s->tokens ? least : s->tokens;
}

/// Floats in an array of the workspace: those queries times all tokens, or all features.
static inline size_t esp_attention_array(const esp_attention_shape *s) {
  const size_t longest = s->tokens > s->size ? s->tokens : s->size;
  return (esp_attention_queries(s) + ESP_ATTENTION_PANEL) * (longest + ESP_ATTENTION_PANEL) * ESP_ATTENTION_FLOATS;
}

/// Floats in a panel of the workspace: a few tokens times all features, or a few features times all tokens.
static inline size_t esp_attention_panel(const esp_attention_shape *s) {
  return (s->tokens > s->size ? s->tokens : s->size) * ESP_ATTENTION_PANEL * ESP_ATTENTION_FLOATS;
}

#endif
