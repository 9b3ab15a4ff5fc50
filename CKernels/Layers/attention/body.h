// Attention over the vocabulary of CKernels/Runtime/vector. A head's matrices are turned around on their way in and
// out, a vector of samples at a time: from lanes side by side to one matrix [features, tokens] a sample, which fits in
// the first-level cache and is multiplied as matrices are, ROWS * COLUMNS vectors of sums in registers. Vectors run
// over queries, so that a softmax goes down the rows.
//
// Included after the vocabulary, ROWS, COLUMNS and ESP_VARIANT.

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "attention/head.h"
#include "exp.h"

enum { WIDTH = esp_vec_floats, QUERIES = ESP_ATTENTION_QUERIES };

static_assert((int)ESP_ATTENTION_FLOATS % (int)WIDTH == 0 && (int)QUERIES % (int)WIDTH == 0, "the workspace has room");

#define UNROLL _Pragma("GCC unroll 16")

ESP_VEC size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

// ---- In and out

/// One head's tokens where lanes lie side by side.
typedef struct token_place {
  size_t token, feature;  // floats from one to the next
  size_t tokens, features;
} token_place;

/// to [WIDTH samples, features, tokens] := from's first WIDTH lanes, zeros behind the last token.
ESP_TARGET static void turn_in(const float *restrict from, token_place place, const esp_attention_shape *s,
                               float *restrict to) {
  const size_t row = esp_attention_row(s), matrix = esp_attention_matrix(s, place.features);
  for (size_t t = 0; t < row; t += WIDTH)
    for (size_t f = 0; f < place.features; f++) {
      const float *const at = from + f * place.feature;
      esp_vec v[WIDTH];
      UNROLL for (size_t i = 0; i < WIDTH; i++) v[i] =
          t + i < place.tokens ? esp_vec_load(at + (t + i) * place.token) : esp_vec_zero();
      esp_vec_transpose(v);
      UNROLL for (size_t l = 0; l < WIDTH; l++) esp_vec_store(to + l * matrix + f * row + t, v[l]);
    }
}

/// The way back; past the caches where `streams`.
ESP_VEC void turn_out_by(const int streams, const float *restrict from, token_place place, const esp_attention_shape *s,
                         float *restrict to) {
  const size_t row = esp_attention_row(s), matrix = esp_attention_matrix(s, place.features);
  for (size_t t = 0; t < place.tokens; t += WIDTH)
    for (size_t f = 0; f < place.features; f++) {
      float *const at = to + f * place.feature;
      esp_vec v[WIDTH];
      UNROLL for (size_t l = 0; l < WIDTH; l++) v[l] = esp_vec_load(from + l * matrix + f * row + t);
      esp_vec_transpose(v);
      UNROLL for (size_t i = 0; i < WIDTH; i++) if (t + i < place.tokens) {
        float *const line = at + (t + i) * place.token;
        if (streams)
          esp_vec_stream(line, v[i]);
        else
          esp_vec_store(line, v[i]);
      }
    }
}

/// Whole cache lines need not be read before they are written.
ESP_TARGET static void turn_out(const float *restrict from, token_place place, const esp_attention_shape *s,
                                float *restrict to) {
  if (WIDTH * sizeof(float) == 64 && (uintptr_t)to % 64 == 0)
    turn_out_by(1, from, place, s, to);
  else
    turn_out_by(0, from, place, s, to);
}

/// to [columns, to_row] := from [rows, from_row] turned around, zeros behind the last row; whole vectors of columns.
ESP_TARGET static void transpose(const float *restrict from, size_t from_row, size_t rows, size_t columns,
                                 float *restrict to, size_t to_row) {
  for (size_t r = 0; r < to_row; r += WIDTH)
    for (size_t c = 0; c < columns; c += WIDTH) {
      esp_vec v[WIDTH];
      UNROLL for (size_t i = 0; i < WIDTH; i++) v[i] =
          r + i < rows ? esp_vec_load(from + (r + i) * from_row + c) : esp_vec_zero();
      esp_vec_transpose(v);
      UNROLL for (size_t i = 0; i < WIDTH; i++) esp_vec_store(to + (c + i) * to_row + r, v[i]);
    }
}

// ---- Products

/// A left operand: number (m, k) lies at m * row + k * step.
typedef struct left_operand {
  const float *at;
  size_t row, step;
} left_operand;

/// A right operand or result: rows of whole vectors.
typedef struct right_operand {
  const float *at;
  size_t row;
} right_operand;

typedef struct product_place {
  float *at;
  size_t row;
  int accumulate;
} product_place;

/// to [rows, columns vectors] (+)= a times b over depth.
ESP_VEC void multiply_tile(const size_t rows, const size_t columns, left_operand a, right_operand b, size_t depth,
                           product_place to) {
  esp_vec sums[ROWS][COLUMNS];
  UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t c = 0; c < columns; c++) sums[r][c] =
      to.accumulate ? esp_vec_load(to.at + r * to.row + c * WIDTH) : esp_vec_zero();
  for (size_t k = 0; k < depth; k++) {
    esp_vec right[COLUMNS];
    UNROLL for (size_t c = 0; c < columns; c++) right[c] = esp_vec_load(b.at + k * b.row + c * WIDTH);
    UNROLL for (size_t r = 0; r < rows; r++) {
      const esp_vec left = esp_vec_set(a.at[r * a.row + k * a.step]);
      UNROLL for (size_t c = 0; c < columns; c++) sums[r][c] = esp_vec_fma(left, right[c], sums[r][c]);
    }
  }
  UNROLL for (size_t r = 0; r < rows; r++) UNROLL for (size_t c = 0; c < columns; c++)
      esp_vec_store(to.at + r * to.row + c * WIDTH, sums[r][c]);
}

ESP_VEC void multiply_columns(const size_t columns, left_operand a, right_operand b, size_t rows, size_t depth,
                              product_place to) {
  size_t m = 0;
  for (; m + ROWS <= rows; m += ROWS, a.at += ROWS * a.row, to.at += ROWS * to.row)
    multiply_tile(ROWS, columns, a, b, depth, to);
  for (; m + 2 <= rows; m += 2, a.at += 2 * a.row, to.at += 2 * to.row) multiply_tile(2, columns, a, b, depth, to);
  if (m < rows) multiply_tile(1, columns, a, b, depth, to);
}

/// to [rows, columns] (+)= a times b over depth; whole vectors of columns.
ESP_TARGET static void multiply(left_operand a, right_operand b, size_t rows, size_t columns, size_t depth,
                                product_place to) {
  size_t n = 0;
  for (; n + COLUMNS * WIDTH <= columns; n += COLUMNS * WIDTH)
    multiply_columns(COLUMNS, a, (right_operand){b.at + n, b.row}, rows, depth,
                     (product_place){to.at + n, to.row, to.accumulate});
  for (; n < columns; n += WIDTH)
    multiply_columns(1, a, (right_operand){b.at + n, b.row}, rows, depth,
                     (product_place){to.at + n, to.row, to.accumulate});
}

// ---- Softmax

/// scores [tokens, QUERIES] become probabilities, for `queries` columns; maxima and factors (1 / sum) [queries].
ESP_VEC void softmax_columns(const size_t queries, size_t tokens, float scale, float *restrict scores,
                             float *restrict maxima, float *restrict factors) {
  float largest[QUERIES], sums[QUERIES];
  for (size_t x = 0; x < queries; x++) {
    largest[x] = scores[x];
    sums[x] = 0;
  }
  for (size_t j = 1; j < tokens; j++)
    for (size_t x = 0; x < queries; x++) {
      const float value = scores[j * QUERIES + x];
      largest[x] = value > largest[x] ? value : largest[x];
    }
  for (size_t j = 0; j < tokens; j++)
    for (size_t x = 0; x < queries; x++) {
      const float power = exp_of((scores[j * QUERIES + x] - largest[x]) * scale);
      scores[j * QUERIES + x] = power;
      sums[x] += power;
    }
  for (size_t x = 0; x < queries; x++) {
    maxima[x] = largest[x];
    factors[x] = sums[x] = 1 / sums[x];
  }
  for (size_t j = 0; j < tokens; j++)
    for (size_t x = 0; x < queries; x++) scores[j * QUERIES + x] *= sums[x];
}

ESP_TARGET static void softmax(size_t queries, size_t tokens, float scale, float *restrict scores,
                               float *restrict maxima, float *restrict factors) {
  if (queries == QUERIES)
    softmax_columns(QUERIES, tokens, scale, scores, maxima, factors);
  else
    softmax_columns(queries, tokens, scale, scores, maxima, factors);
}

/// scores become probabilities; slopes, the gradient of those, become the gradient of scores.
ESP_VEC void softmax_gradient_columns(const size_t queries, size_t tokens, float scale, const float *restrict maxima,
                                      const float *restrict factors, float *restrict scores, float *restrict slopes) {
  float largest[QUERIES], own[QUERIES], means[QUERIES];
  for (size_t x = 0; x < queries; x++) {
    largest[x] = maxima[x];
    own[x] = factors[x];
    means[x] = 0;
  }
  for (size_t j = 0; j < tokens; j++)
    for (size_t x = 0; x < queries; x++) {
      const float probability = exp_of((scores[j * QUERIES + x] - largest[x]) * scale) * own[x];
      scores[j * QUERIES + x] = probability;
      means[x] += probability * slopes[j * QUERIES + x];
    }
  for (size_t j = 0; j < tokens; j++)
    for (size_t x = 0; x < queries; x++)
      slopes[j * QUERIES + x] = scores[j * QUERIES + x] * (slopes[j * QUERIES + x] - means[x]) * scale;
}

ESP_TARGET static void softmax_gradient(size_t queries, size_t tokens, float scale, const float *restrict maxima,
                                        const float *restrict factors, float *restrict scores, float *restrict slopes) {
  if (queries == QUERIES)
    softmax_gradient_columns(QUERIES, tokens, scale, maxima, factors, scores, slopes);
  else
    softmax_gradient_columns(queries, tokens, scale, maxima, factors, scores, slopes);
}

// ---- One sample's head

/// Matrices [features, tokens] of one sample: rows of `row` floats.
typedef struct sample_head {
  float *q, *k, *v, *d;  // d: the gradient of the output, whose place the output takes forward
  float *maxima, *factors;
  size_t tokens, size, row;
  float scale;
} sample_head;

/// scores [tokens, QUERIES] := a' b, for the queries from `first` on, of [features, tokens] each.
ESP_TARGET static void score(const sample_head *h, const float *a, const float *b, size_t first, size_t queries,
                             float *scores) {
  multiply((left_operand){a, 1, h->row}, (right_operand){b + first, h->row}, h->tokens, queries, h->size,
           (product_place){scores, QUERIES, 0});
}

/// The output takes the queries' place.
ESP_TARGET static void forward_sample(const sample_head *h, float *restrict scores) {
  for (size_t first = 0; first < h->tokens; first += QUERIES) {
    const size_t queries = least(QUERIES, h->row - first);
    score(h, h->k, h->q, first, queries, scores);
    softmax(queries, h->tokens, h->scale, scores, h->maxima + first, h->factors + first);
    multiply((left_operand){h->v, h->row, 1}, (right_operand){scores, QUERIES}, h->size, queries, h->tokens,
             (product_place){h->q + first, h->row, 0});
  }
}

/// Gradients take the places of q, k and v. workspace: scores and slopes, both once more, and two matrices.
ESP_TARGET static void backward_sample(const sample_head *h, size_t array, float *restrict workspace) {
  float *const scores = workspace, *const slopes = scores + array;
  float *const probabilities = slopes + array, *const gradients = probabilities + array;  // [queries, tokens]
  float *const dk = gradients + array, *const dv = dk + h->size * h->row;
  for (size_t first = 0; first < h->tokens; first += QUERIES) {
    const size_t queries = least(QUERIES, h->row - first), real = least(QUERIES, h->tokens - first);
    score(h, h->k, h->q, first, queries, scores);
    score(h, h->v, h->d, first, queries, slopes);
    softmax_gradient(queries, h->tokens, h->scale, h->maxima + first, h->factors + first, scores, slopes);
    transpose(scores, QUERIES, h->tokens, queries, probabilities, h->row);
    multiply((left_operand){h->d + first, h->row, 1}, (right_operand){probabilities, h->row}, h->size, h->row, real,
             (product_place){dv, h->row, first > 0});
    transpose(slopes, QUERIES, h->tokens, queries, gradients, h->row);
    multiply((left_operand){h->q + first, h->row, 1}, (right_operand){gradients, h->row}, h->size, h->row, real,
             (product_place){dk, h->row, first > 0});
    multiply((left_operand){h->k, h->row, 1}, (right_operand){slopes, QUERIES}, h->size, queries, h->tokens,
             (product_place){h->q + first, h->row, 0});
  }
  memcpy(h->k, dk, h->size * h->row * sizeof *dk);
  memcpy(h->v, dv, h->size * h->row * sizeof *dv);
}

// ---- Heads

/// A thread's matrices of WIDTH samples.
typedef struct head_space {
  float *q, *k, *v, *statistics, *d, *rest;
} head_space;

ESP_TARGET static head_space space_of(const esp_attention_shape *s, float *workspace) {
  const size_t array = esp_attention_array(s, s->size);
  float *const statistics = workspace + 3 * array, *const rest = statistics + esp_attention_array(s, 2);
  return (head_space){workspace, workspace + array, workspace + 2 * array, statistics, rest, rest};
}

ESP_TARGET static sample_head sample_of(const esp_attention_shape *s, const head_space *space, size_t l) {
  const size_t at = l * esp_attention_matrix(s, s->size), row = esp_attention_row(s);
  float *const statistics = space->statistics + l * esp_attention_matrix(s, 2);
  return (sample_head){.q = space->q + at,
                       .k = space->k + at,
                       .v = space->v + at,
                       .d = space->d + at,
                       .maxima = statistics,
                       .factors = statistics + row,
                       .tokens = s->tokens,
                       .size = s->size,
                       .row = row,
                       .scale = 1 / sqrtf((float)s->size)};
}

ESP_TARGET static token_place input_place(const esp_attention_shape *s) {
  return (token_place){esp_input_stride(s), s->lanes, s->tokens, s->size};
}

ESP_TARGET static token_place output_place(const esp_attention_shape *s) {
  return (token_place){esp_output_stride(s), s->lanes, s->tokens, s->size};
}

ESP_TARGET static token_place statistics_place(const esp_attention_shape *s) {
  return (token_place){s->lanes, s->tokens * s->lanes, s->tokens, 2};
}

ESP_TARGET static void forward(const float *restrict qkv, const esp_attention_shape *s, size_t first, size_t last,
                               float *restrict y, float *restrict statistics, float *restrict workspace) {
  const head_space space = space_of(s, workspace);
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t l = 0; l < s->lanes; l += WIDTH) {
      turn_in(qkv + head.q + l, input_place(s), s, space.q);
      turn_in(qkv + head.k + l, input_place(s), s, space.k);
      turn_in(qkv + head.v + l, input_place(s), s, space.v);
      for (size_t i = 0; i < WIDTH; i++) {
        const sample_head sample = sample_of(s, &space, i);
        forward_sample(&sample, space.rest);
      }
      turn_out(space.q, output_place(s), s, y + head.output + l);
      turn_out(space.statistics, statistics_place(s), s, statistics + head.statistics + l);
    }
  }
  esp_vec_fence();
}

ESP_TARGET static void backward(const float *restrict qkv, const float *restrict d, const float *statistics,
                                const esp_attention_shape *s, size_t first, size_t last, float *restrict dqkv,
                                float *restrict workspace) {
  const head_space space = space_of(s, workspace);
  float *const rest = space.d + esp_attention_array(s, s->size);
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t l = 0; l < s->lanes; l += WIDTH) {
      turn_in(qkv + head.q + l, input_place(s), s, space.q);
      turn_in(qkv + head.k + l, input_place(s), s, space.k);
      turn_in(qkv + head.v + l, input_place(s), s, space.v);
      turn_in(d + head.output + l, output_place(s), s, space.d);
      turn_in(statistics + head.statistics + l, statistics_place(s), s, space.statistics);
      for (size_t i = 0; i < WIDTH; i++) {
        const sample_head sample = sample_of(s, &space, i);
        backward_sample(&sample, esp_attention_scores(s), rest);
      }
      turn_out(space.q, input_place(s), s, dqkv + head.q + l);
      turn_out(space.k, input_place(s), s, dqkv + head.k + l);
      turn_out(space.v, input_place(s), s, dqkv + head.v + l);
    }
  }
  esp_vec_fence();
}

const esp_attention ESP_VARIANT = {forward, backward};
