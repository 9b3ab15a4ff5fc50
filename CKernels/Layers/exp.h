// The exponential function of a float, without branches, so that loops over it vectorise. Included by bodies, after
// ESP_TARGET is defined.

#include <stdint.h>

#include "variants.h"

/// e^(x + correction) for x <= 0 and a correction that is small beside 1: within 2 units of 2^-24, but 0 where it would
/// be below the smallest normal number. NaN stays NaN.
ESP_TARGET ESP_INLINE float exp_of_sum(float x, float correction) {
  const float kept = x < -87.33654f ? -87.33654f : x;
  // kept = n * ln 2 + r, |r| <= ln 2 / 2: adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const float shifted = kept * 1.44269502f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (kept - n * 0.693145752f) + (correction - n * 1.42860677e-6f);
  // e^r = 1 + r + r^2 p(r), p by least squares weighted towards the least maximum.
  float p = 0.00138116621f;
  p = p * r + 0.00837013482f;
  p = p * r + 0.0416685283f;
  p = p * r + 0.166665087f;
  p = p * r + 0.499999926f;
  p = (r * r) * p + r;
  union {
    float value;
    uint32_t bits;
  } power = {.value = shifted};
  power.bits = (power.bits + 127u) << 23;
  const float result = p * power.value + power.value;
  return x < -87.33654f ? 0 : result;
}

ESP_TARGET ESP_INLINE float exp_of(float x) {
  return exp_of_sum(x, 0);
}
