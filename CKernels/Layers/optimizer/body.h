#include <string.h>

#include "optimizer/optimizer.h"

ESP_TARGET static void sgd(float *restrict w, const float *restrict g, float *restrict v, size_t first, size_t last,
                           float learning_rate, float momentum, float weight_decay) {
  for (size_t i = first; i < last; i++) {
    const float decayed = g[i] + weight_decay * w[i];
    v[i] = momentum * v[i] + decayed;
    w[i] -= learning_rate * v[i];
  }
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

const esp_optimizer ESP_VARIANT = {sgd, all_finite};
