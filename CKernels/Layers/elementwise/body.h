#include "elementwise/elementwise.h"
#include "reduce.h"

ESP_TARGET static void relu_forward(const float *restrict x, size_t first, size_t last, float *restrict y) {
  for (size_t i = first; i < last; i++) y[i] = x[i] < 0 ? 0 : x[i];  // NaN passes
}

ESP_TARGET static void relu_backward(const float *restrict y, const float *restrict d, size_t first, size_t last,
                                     float *restrict dx) {
  for (size_t i = first; i < last; i++) {
    const float passed = d[i];
    dx[i] = y[i] > 0 ? passed : 0;
  }
}

ESP_TARGET static void add(const float *restrict x, size_t first, size_t last, float *restrict accumulator) {
  for (size_t i = first; i < last; i++) accumulator[i] += x[i];
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

ESP_TARGET static void bias_gradient(const float *d, size_t blocks, size_t channels, size_t plane, size_t first,
                                     size_t last, float *gradient) {
  for (size_t c = first; c < last; c++) {
    double sum = 0;
    for (size_t b = 0; b < blocks; b++) {
      double_run partial = {0};
      add_run(d + (b * channels + c) * plane, plane, &partial);
      sum += sum_of_lanes(&partial);
    }
    gradient[c] = (float)sum;
  }
}

const esp_elementwise ESP_VARIANT = {relu_forward, relu_backward, add, dropout, bias_gradient};
