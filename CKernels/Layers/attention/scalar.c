#include <math.h>
#include <string.h>

#include "attention/head.h"

/// Token i of an array of tokens, `stride` floats apart, is [size, lanes] at + i * stride.
typedef struct token_rows {
  const float *at;
  size_t stride;
} token_rows;

/// scores [tokens, lanes] := a's token i times b's every token, over the features.
static void products(token_rows a, token_rows b, size_t i, const esp_attention_shape *s, float *restrict scores) {
  memset(scores, 0, s->tokens * s->lanes * sizeof(float));
  for (size_t j = 0; j < s->tokens; j++)
    for (size_t f = 0; f < s->size; f++)
      for (size_t l = 0; l < s->lanes; l++)
        scores[j * s->lanes + l] += a.at[i * a.stride + f * s->lanes + l] * b.at[j * b.stride + f * s->lanes + l];
}

/// y [size, lanes] := sum over j of weights [j] times b's token j.
static void combine(const float *restrict weights, token_rows b, const esp_attention_shape *s, float *restrict y) {
  memset(y, 0, s->size * s->lanes * sizeof(float));
  for (size_t j = 0; j < s->tokens; j++)
    for (size_t f = 0; f < s->size; f++)
      for (size_t l = 0; l < s->lanes; l++)
        y[f * s->lanes + l] += weights[j * s->lanes + l] * b.at[j * b.stride + f * s->lanes + l];
}

/// y's token j (+)= weights [j] times a's token i, for every j; the first i overwrites.
static void spread(const float *restrict weights, token_rows a, size_t i, const esp_attention_shape *s,
                   float *restrict y, size_t y_stride) {
  for (size_t j = 0; j < s->tokens; j++)
    for (size_t f = 0; f < s->size; f++)
      for (size_t l = 0; l < s->lanes; l++) {
        float *const at = &y[j * y_stride + f * s->lanes + l];
        *at = (i > 0 ? *at : 0) + weights[j * s->lanes + l] * a.at[i * a.stride + f * s->lanes + l];
      }
}

/// scores := exp((scores - maximum) * scale) * factor, for one lane.
static void exponentials(float *scores, float maximum, float scale, float factor, const esp_attention_shape *s) {
  for (size_t j = 0; j < s->tokens; j++) scores[j * s->lanes] = expf((scores[j * s->lanes] - maximum) * scale) * factor;
}

static void softmax(float *scores, float scale, const esp_attention_shape *s, float *maxima, float *factors) {
  for (size_t l = 0; l < s->lanes; l++) {
    float maximum = scores[l];
    for (size_t j = 1; j < s->tokens; j++)
      maximum = scores[j * s->lanes + l] > maximum ? scores[j * s->lanes + l] : maximum;
    exponentials(scores + l, maximum, scale, 1, s);
    float sum = 0;
    for (size_t j = 0; j < s->tokens; j++) sum += scores[j * s->lanes + l];
    for (size_t j = 0; j < s->tokens; j++) scores[j * s->lanes + l] *= 1 / sum;
    maxima[l] = maximum;
    factors[l] = 1 / sum;
  }
}

static void forward(const float *restrict qkv, const esp_attention_shape *s, size_t first, size_t last,
                    float *restrict y, float *restrict statistics, float *restrict workspace) {
  const float scale = 1 / sqrtf((float)s->size);
  const size_t in = esp_input_stride(s);
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t i = 0; i < s->tokens; i++) {
      float *const maxima = statistics + head.statistics + i * s->lanes;
      products((token_rows){qkv + head.q, in}, (token_rows){qkv + head.k, in}, i, s, workspace);
      softmax(workspace, scale, s, maxima, maxima + s->tokens * s->lanes);
      combine(workspace, (token_rows){qkv + head.v, in}, s, y + head.output + i * esp_output_stride(s));
    }
  }
}

/// slopes := probabilities * (slopes - their mean under the probabilities) * scale.
static void softmax_gradient(const float *restrict probabilities, float scale, const esp_attention_shape *s,
                             float *restrict slopes) {
  for (size_t l = 0; l < s->lanes; l++) {
    float mean = 0;
    for (size_t j = 0; j < s->tokens; j++) mean += probabilities[j * s->lanes + l] * slopes[j * s->lanes + l];
    for (size_t j = 0; j < s->tokens; j++) {
      float *const slope = &slopes[j * s->lanes + l];
      *slope = probabilities[j * s->lanes + l] * (*slope - mean) * scale;
    }
  }
}

static void backward(const float *restrict qkv, const float *restrict d, const float *statistics,
                     const esp_attention_shape *s, size_t first, size_t last, float *restrict dqkv,
                     float *restrict workspace) {
  const size_t row = s->tokens * s->lanes, in = esp_input_stride(s);
  const float scale = 1 / sqrtf((float)s->size);
  float *const probabilities = workspace, *const slopes = workspace + row;
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    const token_rows q = {qkv + head.q, in}, k = {qkv + head.k, in}, v = {qkv + head.v, in};
    const token_rows seed = {d + head.output, esp_output_stride(s)};
    for (size_t i = 0; i < s->tokens; i++) {
      const float *const maxima = statistics + head.statistics + i * s->lanes;
      products(q, k, i, s, probabilities);
      for (size_t l = 0; l < s->lanes; l++) exponentials(probabilities + l, maxima[l], scale, maxima[row + l], s);
      products(seed, v, i, s, slopes);
      softmax_gradient(probabilities, scale, s, slopes);
      combine(slopes, k, s, dqkv + head.q + i * in);
      spread(slopes, q, i, s, dqkv + head.k, in);
      spread(probabilities, seed, i, s, dqkv + head.v, in);
    }
  }
}

const esp_attention esp_attention_scalar = {forward, backward};
