// Where a head's arrays lie.

#include "attention/attention.h"

/// One head of one block: q, k, v and the output each [size, tokens, lanes], statistics [2, tokens, lanes].
typedef struct attention_head {
  size_t q, k, v;     // in qkv
  size_t output;      // in y
  size_t statistics;  // in statistics
} attention_head;

static inline attention_head head_of(const esp_attention_shape *s, size_t item) {
  const size_t block = item / s->heads, head = item % s->heads, row = s->tokens * s->lanes, part = s->heads * s->size;
  const size_t q = (block * 3 * part + head * s->size) * row;
  return (attention_head){q, q + part * row, q + 2 * part * row, (block * part + head * s->size) * row, item * 2 * row};
}
