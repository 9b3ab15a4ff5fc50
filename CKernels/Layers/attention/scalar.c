#include <math.h>
#include <string.h>

#include "attention/head.h"

/// Row i of a [size, tokens, lanes] array is at + (f * tokens + i) * lanes for each f.

/// scores [tokens, lanes] := a's token i times b's every token, over the features.
static void products(const float *restrict a, const float *restrict b, size_t i, const esp_attention_shape *s,
                     float *restrict scores) {
  const size_t row = s->tokens * s->lanes;
  memset(scores, 0, row * sizeof(float));
  for (size_t f = 0; f < s->size; f++)
    for (size_t j = 0; j < s->tokens; j++)
      for (size_t l = 0; l < s->lanes; l++)
        scores[j * s->lanes + l] += a[f * row + i * s->lanes + l] * b[f * row + j * s->lanes + l];
}

/// y's token i := sum over j of weights [j] times b's token j.
static void combine(const float *restrict weights, const float *restrict b, size_t i, const esp_attention_shape *s,
                    float *restrict y) {
  const size_t row = s->tokens * s->lanes;
  for (size_t f = 0; f < s->size; f++)
    for (size_t l = 0; l < s->lanes; l++) {
      float sum = 0;
      for (size_t j = 0; j < s->tokens; j++) sum += weights[j * s->lanes + l] * b[f * row + j * s->lanes + l];
      y[f * row + i * s->lanes + l] = sum;
    }
}

/// y's token j += weights [j] times a's token i, for every j.
static void spread(const float *restrict weights, const float *restrict a, size_t i, const esp_attention_shape *s,
                   float *restrict y) {
  const size_t row = s->tokens * s->lanes;
  for (size_t f = 0; f < s->size; f++)
    for (size_t j = 0; j < s->tokens; j++)
      for (size_t l = 0; l < s->lanes; l++)
        y[f * row + j * s->lanes + l] += weights[j * s->lanes + l] * a[f * row + i * s->lanes + l];
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
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    for (size_t i = 0; i < s->tokens; i++) {
      float *const maxima = statistics + head.statistics + i * s->lanes;
      products(qkv + head.q, qkv + head.k, i, s, workspace);
      softmax(workspace, scale, s, maxima, maxima + s->tokens * s->lanes);
      combine(workspace, qkv + head.v, i, s, y + head.output);
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
  const size_t row = s->tokens * s->lanes;
  const float scale = 1 / sqrtf((float)s->size);
  float *const probabilities = workspace, *const slopes = workspace + row;
  for (size_t item = first; item < last; item++) {
    const attention_head head = head_of(s, item);
    memset(dqkv + head.k, 0, s->size * row * sizeof(float));
    memset(dqkv + head.v, 0, s->size * row * sizeof(float));
    for (size_t i = 0; i < s->tokens; i++) {
      const float *const maxima = statistics + head.statistics + i * s->lanes;
      products(qkv + head.q, qkv + head.k, i, s, probabilities);
      for (size_t l = 0; l < s->lanes; l++) exponentials(probabilities + l, maxima[l], scale, maxima[row + l], s);
      products(d + head.output, qkv + head.v, i, s, slopes);
      softmax_gradient(probabilities, scale, s, slopes);
      combine(slopes, qkv + head.k, i, s, dqkv + head.q);
      spread(slopes, qkv + head.q, i, s, dqkv + head.k);
      spread(probabilities, d + head.output, i, s, dqkv + head.v);
    }
  }
}

const esp_attention esp_attention_scalar = {forward, backward};
