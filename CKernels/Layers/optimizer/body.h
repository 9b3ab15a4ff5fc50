#include <string.h>

#include "optimizer/optimizer.h"
#include "reduce.h"

ESP_TARGET static void sgd(float *restrict w, const float *restrict g, float *restrict v, size_t first, size_t last,
                           float learning_rate, float momentum, float weight_decay) {
  for (size_t i = first; i < last; i++) {
    const float decayed = g[i] + weight_decay * w[i];
    v[i] = momentum * v[i] + decayed;
    w[i] -= learning_rate * v[i];
  }
}

ESP_TARGET static void adamw(const esp_adamw *rule, const float *restrict g, size_t first, size_t last,
                             float *restrict w, float *restrict m, float *restrict v) {
  const esp_adamw r = *rule;
  for (size_t i = first; i < last; i++) {
    m[i] += r.gain1 * (g[i] - m[i]);
    v[i] = r.beta2 * v[i] + r.gain2 * (g[i] * g[i]);
    const float denominator = ESP_SQRT(v[i]) / r.root_correction + r.epsilon;
    w[i] = r.keep * w[i] - r.step_size * (m[i] / denominator);
  }
}

ESP_TARGET static double square_sum(const float *x, size_t first, size_t last) {
  const size_t whole = (last - first) / SUM_LANES * SUM_LANES;
  double_run sums = {0};
  for (size_t i = first; i < first + whole; i += SUM_LANES) {
    const double_run run = ESP_TO_DOUBLES(*(const float_run *)(x + i));
    sums += run * run;
  }
  float_run rest = {0};
  memcpy(&rest, x + first + whole, (last - first - whole) * sizeof *x);
  const double_run run = ESP_TO_DOUBLES(rest);
  sums += run * run;
  return sum_of_lanes(&sums);
}

ESP_TARGET static void scale(float factor, size_t first, size_t last, float *x) {
  for (size_t i = first; i < last; i++) x[i] *= factor;
}

ESP_TARGET static int all_finite(const float *x, size_t first, size_t last) {
  const uint32_t exponent = 0x7f800000u;
  uint32_t any = 0;
  for (size_t i = first; i < last; i++) {
    uint32_t bits;
    memcpy(&bits, &x[i], sizeof bits);
    any |= (bits & exponent) == exponent;
  }
  return !any;
}

const esp_optimizer ESP_VARIANT = {sgd, adamw, square_sum, scale, all_finite};
