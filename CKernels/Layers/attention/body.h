// Attention over the vocabulary of CKernels/Runtime/vector: every lane multiplies matrices of its own, and a vector
// takes `WIDTH` lanes at a time where a matrix product would take one number. So the products are blocked like those of
// matrices: the left operand in panels of ROWS tokens, the right one in panels of COLUMNS, ROWS * COLUMNS sums in
// registers. A right panel is copied together once and stays in the L1 cache while left panels stream from L2.
//
// Included after the vocabulary, ROWS, COLUMNS and ESP_VARIANT.

#include <assert.h>
#include <math.h>
#include <string.h>

#include "attention/head.h"
#include "exp.h"

enum { WIDTH = esp_vec_floats, LEFT = ROWS * WIDTH, RIGHT = COLUMNS * WIDTH };

static_assert((int)ROWS <= ESP_ATTENTION_PANEL && (int)COLUMNS <= ESP_ATTENTION_PANEL &&
                  (int)WIDTH <= (int)ESP_ATTENTION_FLOATS,
              "the workspace has room");

/// to [depth, width, WIDTH] := from's vectors, `step` apart in depth, `stride` apart in width; zeros from `valid` on.
ESP_VEC void pack(const float *restrict from, size_t step, size_t stride, size_t depth, size_t valid, size_t width,
                  float *restrict to) {
  for (size_t k = 0; k < depth; k++)
    for (size_t c = 0; c < width; c++, to += WIDTH)
      esp_vec_store(to, c < valid ? esp_vec_load(from + k * step + c * stride) : esp_vec_zero());
}

ESP_VEC size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

ESP_TARGET static void pack_right(const float *restrict from, size_t step, size_t stride, size_t depth, size_t valid,
                                  float *restrict to) {
  if (valid >= COLUMNS)
    pack(from, step, stride, depth, COLUMNS, COLUMNS, to);
  else
    pack(from, step, stride, depth, valid, COLUMNS, to);
}

/// Vectors that are needed later, `step` apart: one is asked for with every product.
typedef struct soon {
  const float *at;
  size_t step;
} soon;

/// sums := the products of a left panel [depth, ROWS, WIDTH] and a right one [depth, COLUMNS, WIDTH] over depth.
ESP_VEC void multiply(const float *restrict left, const float *restrict right, size_t depth, soon next,
                      esp_vec sums[ROWS][COLUMNS]) {
  for (size_t r = 0; r < ROWS; r++)
    for (size_t c = 0; c < COLUMNS; c++) sums[r][c] = esp_vec_zero();
  for (size_t k = 0; k < depth; k++, left += LEFT, right += RIGHT, next.at += next.step) {
    esp_vec column[ROWS];
    esp_vec_prefetch(next.at);
    for (size_t r = 0; r < ROWS; r++) column[r] = esp_vec_load(left + r * WIDTH);
    for (size_t c = 0; c < COLUMNS; c++) {
      const esp_vec element = esp_vec_load(right + c * WIDTH);
      for (size_t r = 0; r < ROWS; r++) sums[r][c] = esp_vec_fma(column[r], element, sums[r][c]);
    }
  }
}

/// scores [COLUMNS, ROWS, WIDTH] := left times right.
ESP_TARGET static void score(const float *restrict left, const float *restrict right, size_t depth, soon next,
                             float *restrict scores) {
  esp_vec sums[ROWS][COLUMNS];
  multiply(left, right, depth, next, sums);
  for (size_t c = 0; c < COLUMNS; c++)
    for (size_t r = 0; r < ROWS; r++) esp_vec_store(scores + (c * ROWS + r) * WIDTH, sums[r][c]);
}

/// One head's tokens in memory, `stride` floats apart, each [size, lanes].
typedef struct token_rows {
  const float *at;
  size_t stride;
} token_rows;

/// Where a product goes: rows are tokens, columns features; what is beyond stays out.
typedef struct product_place {
  float *at;
  size_t row_stride, column_stride, rows, columns;
  int accumulate;
} product_place;

ESP_TARGET static void combine(const float *restrict left, const float *restrict right, size_t depth, soon next,
                               product_place place) {
  esp_vec sums[ROWS][COLUMNS];
  multiply(left, right, depth, next, sums);
  for (size_t c = 0; c < COLUMNS && c < place.columns; c++)
    for (size_t r = 0; r < ROWS && r < place.rows; r++) {
      float *const at = place.at + r * place.row_stride + c * place.column_stride;
      esp_vec_store(at, place.accumulate ? esp_vec_add(esp_vec_load(at), sums[r][c]) : sums[r][c]);
    }
}

/// One head's tokens in `WIDTH` lanes, and the queries that are worked on: first ..< first + queries.
typedef struct attention_part {
  size_t tokens, size, lanes;
  size_t first, queries, panels;  // panels of queries
  size_t scores;                  // floats from one panel's scores to the next's
  float scale;
} attention_part;

/// panels [panels, size, ROWS, WIDTH] := the queries' rows of `from`.
ESP_TARGET static void pack_queries(token_rows from, const attention_part *p, float *restrict panels) {
  for (size_t i = 0; i < p->queries; i += ROWS, panels += p->size * LEFT) {
    const float *const rows = from.at + (p->first + i) * from.stride;
    if (i + ROWS <= p->queries)
      pack(rows, p->lanes, from.stride, p->size, ROWS, ROWS, panels);
    else
      pack(rows, p->lanes, from.stride, p->size, p->queries - i, ROWS, panels);
  }
}

/// scores [panels, tokens, ROWS, WIDTH] := queries times every token of `keys`.
ESP_TARGET static void score_all(const float *restrict queries, token_rows keys, const attention_part *p,
                                 float *restrict scores, float *restrict panel) {
  for (size_t j = 0; j < p->tokens; j += COLUMNS) {
    pack_right(keys.at + j * keys.stride, p->lanes, keys.stride, p->size, p->tokens - j, panel);
    for (size_t i = 0; i < p->panels; i++)
      score(queries + i * p->size * LEFT, panel, p->size,
            j + COLUMNS + i < p->tokens && i < COLUMNS ? (soon){keys.at + (j + COLUMNS + i) * keys.stride, p->lanes}
                                                       : (soon){panel, 0},
            scores + i * p->scores + j * LEFT);
  }
}

/// to's tokens first ..< first + count := (or +=) left panels [depth, ROWS, WIDTH], `stride` apart, times the tokens of
/// `from` from `origin` on.
ESP_TARGET static void combine_all(const float *restrict left, size_t stride, token_rows from, size_t origin,
                                   size_t depth, size_t first, size_t count, int accumulate, const attention_part *p,
                                   float *restrict to, size_t to_stride, float *restrict panel) {
  const float *const rows = from.at + origin * from.stride;
  for (size_t f = 0; f < p->size; f += COLUMNS) {
    pack_right(rows + f * p->lanes, from.stride, p->lanes, depth, p->size - f, panel);
    for (size_t i = 0; i < count; i += ROWS)
      combine(left + i / ROWS * stride, panel, depth,
              f + COLUMNS + i / ROWS < p->size && i / ROWS < COLUMNS
                  ? (soon){rows + (f + COLUMNS + i / ROWS) * p->lanes, from.stride}
                  : (soon){panel, 0},
              (product_place){to + (first + i) * to_stride + f * p->lanes, to_stride, p->lanes, count - i, p->size - f,
                              accumulate});
  }
}

/// A panel's softmax. scores [tokens, ROWS, WIDTH]; maxima and factors (1 / sum) [ROWS, WIDTH].
ESP_TARGET static void softmax(const attention_part *p, float *restrict scores, float *restrict maxima,
                               float *restrict factors) {
  float sums[LEFT];
  for (size_t x = 0; x < LEFT; x++) {
    maxima[x] = scores[x];
    sums[x] = 0;
  }
  for (size_t j = 1; j < p->tokens; j++)
    for (size_t x = 0; x < LEFT; x++) {
      const float value = scores[j * LEFT + x];
      maxima[x] = value > maxima[x] ? value : maxima[x];
    }
  for (size_t j = 0; j < p->tokens; j++)
    for (size_t x = 0; x < LEFT; x++) {
      const float power = exp_of((scores[j * LEFT + x] - maxima[x]) * p->scale);
      scores[j * LEFT + x] = power;
      sums[x] += power;
    }
  for (size_t x = 0; x < LEFT; x++) factors[x] = 1 / sums[x];
  for (size_t j = 0; j < p->tokens; j++)
    for (size_t x = 0; x < LEFT; x++) scores[j * LEFT + x] *= factors[x];
}

/// Moves panel i's rows between [ROWS, WIDTH] and [tokens, lanes].
ESP_TARGET static void store_rows(const float *restrict rows, const attention_part *p, size_t i, float *restrict to) {
  for (size_t r = 0; r < ROWS && i * ROWS + r < p->queries; r++)
    memcpy(to + (p->first + i * ROWS + r) * p->lanes, rows + r * WIDTH, WIDTH * sizeof(float));
}

ESP_TARGET static void load_rows(const float *restrict from, const attention_part *p, size_t i, float *restrict rows) {
  for (size_t r = 0; r < ROWS; r++)
    if (i * ROWS + r < p->queries)
      memcpy(rows + r * WIDTH, from + (p->first + i * ROWS + r) * p->lanes, WIDTH * sizeof(float));
    else
      memset(rows + r * WIDTH, 0, WIDTH * sizeof(float));
}

ESP_TARGET static attention_part part_of(const esp_attention_shape *s, size_t first) {
  const size_t queries = least(esp_attention_queries(s), s->tokens - first);
  return (attention_part){
      .tokens = s->tokens,
      .size = s->size,
      .lanes = s->lanes,
      .first = first,
      .queries = queries,
      .panels = (queries + ROWS - 1) / ROWS,
      .scores = (s->tokens + COLUMNS - 1) / COLUMNS * COLUMNS * LEFT,
      .scale = 1 / sqrtf((float)s->size),
  };
}

/// One head's output in WIDTH lanes.
ESP_TARGET static void forward_lanes(const float *qkv, attention_head head, const esp_attention_shape *s,
                                     float *restrict y, float *restrict statistics, float *restrict workspace) {
  float *const queries = workspace, *const scores = queries + esp_attention_array(s);
  float *const panel = scores + esp_attention_array(s);
  const size_t in = esp_input_stride(s), out = esp_output_stride(s);
  for (size_t first = 0; first < s->tokens; first += esp_attention_queries(s)) {
    const attention_part p = part_of(s, first);
    pack_queries((token_rows){qkv + head.q, in}, &p, queries);
    score_all(queries, (token_rows){qkv + head.k, in}, &p, scores, panel);
    for (size_t i = 0; i < p.panels; i++) {
      float maxima[LEFT], factors[LEFT];
      softmax(&p, scores + i * p.scores, maxima, factors);
      store_rows(maxima, &p, i, statistics);
      store_rows(factors, &p, i, statistics + s->tokens * s->lanes);
    }
    combine_all(scores, p.scores, (token_rows){qkv + head.v, in}, 0, p.tokens, first, p.queries, 0, &p, y, out, panel);
  }
}

ESP_TARGET static void forward(const float *restrict qkv, const esp_attention_shape *s, size_t first, size_t last,
                               float *restrict y, float *restrict statistics, float *restrict workspace) {
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t l = 0; l < s->lanes; l += WIDTH)
      forward_lanes(qkv + l, head, s, y + head.output + l, statistics + head.statistics + l, workspace);
  }
}

/// scores, of a panel, become probabilities; slopes, the gradient of those, become the gradient of scores.
ESP_TARGET static void softmax_gradient(const attention_part *p, const float *restrict maxima,
                                        const float *restrict factors, float *restrict scores, float *restrict slopes) {
  float means[LEFT] = {0};
  for (size_t j = 0; j < p->tokens; j++)
    for (size_t x = 0; x < LEFT; x++) {
      const float probability = exp_of((scores[j * LEFT + x] - maxima[x]) * p->scale) * factors[x];
      scores[j * LEFT + x] = probability;
      means[x] += probability * slopes[j * LEFT + x];
    }
  for (size_t j = 0; j < p->tokens; j++)
    for (size_t x = 0; x < LEFT; x++)
      slopes[j * LEFT + x] = scores[j * LEFT + x] * (slopes[j * LEFT + x] - means[x]) * p->scale;
}

/// to [panels of tokens, queries, ROWS, WIDTH] := from [panels of queries, tokens, ROWS, WIDTH].
ESP_TARGET static void transpose(const float *restrict from, const attention_part *p, float *restrict to) {
  for (size_t j = 0; j < p->tokens; j += ROWS)
    for (size_t i = 0; i < p->queries; i++, to += LEFT)
      for (size_t c = 0; c < ROWS; c++) {
        const float *const element = from + i / ROWS * p->scores + (j + c) * LEFT + i % ROWS * WIDTH;
        esp_vec_store(to + c * WIDTH, j + c < p->tokens ? esp_vec_load(element) : esp_vec_zero());
      }
}

/// One head's gradients in WIDTH lanes.
ESP_TARGET static void backward_lanes(const float *qkv, token_rows d, const float *restrict statistics,
                                      attention_head head, const esp_attention_shape *s, float *restrict dqkv,
                                      float *restrict workspace) {
  const size_t array = esp_attention_array(s), in = esp_input_stride(s);
  const token_rows q = {qkv + head.q, in}, k = {qkv + head.k, in}, v = {qkv + head.v, in};
  float *const scores = workspace, *const slopes = scores + array, *const left = slopes + array;
  float *const panel = left + array;
  for (size_t first = 0; first < s->tokens; first += esp_attention_queries(s)) {
    const attention_part p = part_of(s, first);
    pack_queries(q, &p, left);
    score_all(left, k, &p, scores, panel);
    pack_queries(d, &p, left);
    score_all(left, v, &p, slopes, panel);
    for (size_t i = 0; i < p.panels; i++) {
      float maxima[LEFT], factors[LEFT];
      load_rows(statistics, &p, i, maxima);
      load_rows(statistics + s->tokens * s->lanes, &p, i, factors);
      softmax_gradient(&p, maxima, factors, scores + i * p.scores, slopes + i * p.scores);
    }
    combine_all(slopes, p.scores, k, 0, p.tokens, first, p.queries, 0, &p, dqkv + head.q, in, panel);
    transpose(slopes, &p, left);
    combine_all(left, p.queries * LEFT, q, first, p.queries, 0, p.tokens, first > 0, &p, dqkv + head.k, in, panel);
    transpose(scores, &p, left);
    combine_all(left, p.queries * LEFT, d, first, p.queries, 0, p.tokens, first > 0, &p, dqkv + head.v, in, panel);
  }
}

ESP_TARGET static void backward(const float *restrict qkv, const float *restrict d, const float *statistics,
                                const esp_attention_shape *s, size_t first, size_t last, float *restrict dqkv,
                                float *restrict workspace) {
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t l = 0; l < s->lanes; l += WIDTH)
      backward_lanes(qkv + l, (token_rows){d + head.output + l, esp_output_stride(s)}, statistics + head.statistics + l,
                     head, s, dqkv + l, workspace);
  }
}

const esp_attention ESP_VARIANT = {forward, backward};
