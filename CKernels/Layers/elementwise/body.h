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

ESP_TARGET static void add(const float *restrict x, size_t first, size_t last, float *restrict accumulator) {
  FOR_RUNS(first, last, RUN(accumulator, i) += CONST_RUN(x, i), accumulator[i] += x[i])
}

enum { DROPOUT_RUN = 32 };  // features whose numbers are drawn at a time

ESP_TARGET static void dropout(esp_random_key key, float probability, const float *restrict x, size_t features,
                               size_t lanes, size_t first, size_t last, float *restrict y) {
  float draws[32][DROPOUT_RUN];
  const float kept = 1 - probability;
  for (size_t item = first; item < last;) {
    const size_t block = item / features, feature = item % features;
    size_t run = last - item < DROPOUT_RUN ? last - item : DROPOUT_RUN;
    if (run > features - feature) run = features - feature;
    for (size_t l = 0; l < lanes; l++)
      esp_random_uniform_f32(key, (block * lanes + l) * features + feature, run, 0, 1, draws[l]);
    for (size_t i = 0; i < run; i++) {
      const size_t row = (item + i) * lanes;
      for (size_t l = 0; l < lanes; l++) {
        const float scaled = x[row + l] / kept;
        y[row + l] = draws[l][i] >= probability ? scaled : 0;
      }
    }
    item += run;
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

const esp_elementwise ESP_VARIANT = {relu_forward, relu_backward, add, dropout, bias_gradient};
