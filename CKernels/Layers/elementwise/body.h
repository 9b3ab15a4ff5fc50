#include "../../Sampling/random/philox.h"
#include "elementwise/elementwise.h"
#include "reduce.h"

enum { PIECE = 1 << 15 };  // numbers whose quarters are walked through at once

/// Does `run` at each run of first ..< last, and `one` with each element that is left.
#define FOR_RUNS(first, last, run, one)                                   \
  for (size_t begin = (first); begin < (last); begin += PIECE) {          \
    const size_t size = (last)-begin < PIECE ? (last)-begin : PIECE;      \
    const size_t runs = size / SUM_LANES;                                 \
    for (size_t k = 0; k < runs; k++) {                                   \
      const size_t i = begin + run_start(k, runs);                        \
      run;                                                                \
    }                                                                     \
    for (size_t i = begin + runs * SUM_LANES; i < begin + size; i++) one; \
  }

#define RUN(p, i) (*(float_run *)((p) + (i)))
#define CONST_RUN(p, i) (*(const float_run *)((p) + (i)))

ESP_TARGET static void relu_forward(const float *restrict x, size_t first, size_t last, float *restrict y){
    // NaN passes
    FOR_RUNS(first, last, RUN(y, i) = (float_run)((int_run)CONST_RUN(x, i) & ~(int_run)(CONST_RUN(x, i) < 0)),
             y[i] = x[i] < 0 ? 0 : x[i])}

ESP_TARGET static void relu_backward(const float *restrict y, const float *restrict d, size_t first, size_t last,
                                     float *restrict dx){
    FOR_RUNS(first, last, RUN(dx, i) = (float_run)((int_run)CONST_RUN(d, i) & (int_run)(CONST_RUN(y, i) > 0)),
             dx[i] = y[i] > 0 ? d[i] : 0)}

ESP_TARGET static void add(const float *a, const float *b, size_t first, size_t last, float *y){
    FOR_RUNS(first, last, RUN(y, i) = CONST_RUN(a, i) + CONST_RUN(b, i), y[i] = a[i] + b[i])}

/// words[w][l] := word w of the stream's block that holds number first + l * features, for all lanes.
ESP_TARGET ESP_INLINE
    void draw_lanes(esp_random_key key, uint64_t first, size_t features, size_t lanes, uint32_t words[4][32]) {
  uint32_t block[4][8];
  size_t l = 0;
  for (; l + 8 <= lanes; l += 8) {
    random_blocks(8, key, first + l * features, features, block);
    for (size_t w = 0; w < 4; w++) memcpy(words[w] + l, block[w], sizeof block[w]);
  }
  for (; l < lanes; l++) {
    random_blocks(1, key, first + l * features, features, block);
    for (size_t w = 0; w < 4; w++) words[w][l] = block[w][0];
  }
}

/// Up to four features at a time; where features are a multiple of four, so that all lanes are equally far in their
/// blocks of the stream, those of one block.
ESP_TARGET static void dropout(esp_random_key key, float probability, const float *restrict x, size_t first_sample,
                               size_t features, size_t lanes, size_t first, size_t last, float *restrict y) {
  const float kept = 1 - probability;
  uint32_t words[8][32], own[32];
  for (size_t item = first, count; item < last; item += count) {
    const size_t block = item / features, feature = item % features, left = features - feature;
    const uint64_t number = ((uint64_t)first_sample + block * lanes) * features + feature;
    const int even = features % 4 == 0;
    count = even ? 4 - feature % 4 : left < 4 ? left : 4;
    if (count > last - item) count = last - item;
    draw_lanes(key, number, features, lanes, words);
    if (!even) draw_lanes(key, number + 4, features, lanes, words + 4);
    for (size_t i = 0; i < count; i++) {
      const float *restrict from = x + (item + i) * lanes;
      float *restrict to = y + (item + i) * lanes;
      const uint32_t *word = even ? words[number % 4 + i] : own;
      for (size_t l = 0; l < lanes && !even; l++) own[l] = words[(number + l * features) % 4 + i][l];
      for (size_t l = 0; l < lanes; l++) {
        const float scaled = from[l] / kept, draw = (float)(int32_t)(word[l] >> 8) * 0x1p-24f;
        to[l] = draw >= probability ? scaled : 0;
      }
    }
  }
}

enum { TILE = 128 };  // channels that are added up at once: vectors' lie side by side

ESP_TARGET static void bias_gradient(const float *d, size_t blocks, size_t channels, size_t plane, size_t first,
                                     size_t last, float *gradient) {
  for (size_t tile = first; tile < last; tile += TILE) {
    const size_t width = last - tile < TILE ? last - tile : TILE;
    double sums[TILE] = {0};
    for (size_t b = 0; b < blocks; b++)
      for (size_t c = 0; c < width; c++) {
        double_run partial = {0};
        add_run(d + (b * channels + tile + c) * plane, plane, &partial);
        sums[c] += sum_of_lanes(&partial);
      }
    for (size_t c = 0; c < width; c++) gradient[tile + c] = (float)sums[c];
  }
}

ESP_TARGET ESP_INLINE void add_tokens_of(const float *d, size_t tokens, size_t features, size_t lanes, double *sums) {
  for (size_t f = 0; f < features; f++) {
    float parts[32] = {0};
    for (size_t t = 0; t < tokens; t++)
      for (size_t l = 0; l < lanes; l++) parts[l] += d[(t * features + f) * lanes + l];
    for (size_t half = lanes / 2; half > 0; half /= 2)
      for (size_t l = 0; l < half; l++) parts[l] += parts[l + half];
    sums[f] += (double)parts[0];
  }
}

ESP_TARGET static void add_tokens(const float *d, size_t tokens, size_t features, size_t lanes, double *sums) {
  if (lanes == 32)
    add_tokens_of(d, tokens, features, 32, sums);
  else
    add_tokens_of(d, tokens, features, lanes, sums);
}

const esp_elementwise ESP_VARIANT = {relu_forward, relu_backward, add, dropout, bias_gradient, add_tokens};
