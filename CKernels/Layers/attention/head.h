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

/// No variant's vectors are wider; queries that are worked on at once: a multiple of every variant's vectors.
enum { ESP_ATTENTION_FLOATS = 16, ESP_ATTENTION_QUERIES = 64 };

/// Tokens with those that fill the last vector.
static inline size_t esp_attention_row(const esp_attention_shape *s) {
  return (s->tokens + ESP_ATTENTION_FLOATS - 1) / ESP_ATTENTION_FLOATS * ESP_ATTENTION_FLOATS;
}

/// Floats from a sample's matrix [features, tokens] to the next one's: a cache line more than the matrix has, so that
/// samples do not compete for the same places in a cache.
static inline size_t esp_attention_matrix(const esp_attention_shape *s, size_t features) {
  return features * esp_attention_row(s) + 16;
}

/// Floats in a vector's samples' matrices.
static inline size_t esp_attention_array(const esp_attention_shape *s, size_t features) {
  return ESP_ATTENTION_FLOATS * esp_attention_matrix(s, features);
}

/// Floats in one sample's scores of some queries.
static inline size_t esp_attention_scores(const esp_attention_shape *s) {
  return ESP_ATTENTION_QUERIES * esp_attention_row(s);
}

#endif
