// Sums over contiguous floats, in double. Included by bodies, after ESP_TARGET is defined.

#include "variants.h"

/// Element i of a run is added to partial sum i % SUM_LANES, so that a sum vectorises and has one order.
enum { SUM_LANES = 16 };

/// Adds the partial sums in a fixed tree.
ESP_TARGET ESP_INLINE double sum_of_lanes(double partial[SUM_LANES]) {
  for (size_t half = SUM_LANES / 2; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) partial[l] += partial[l + half];
  return partial[0];
}

/// partial += x [n].
ESP_TARGET ESP_INLINE void add_run(const float *x, size_t n, double partial[SUM_LANES]) {
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (size_t l = 0; l < SUM_LANES; l++) partial[l] += (double)x[i + l];
  for (size_t l = 0; i + l < n; l++) partial[l] += (double)x[i + l];
}

/// partial += (x [n] - mean)^2.
ESP_TARGET ESP_INLINE void add_squares(const float *x, size_t n, double mean, double partial[SUM_LANES]) {
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (size_t l = 0; l < SUM_LANES; l++) {
      const double centred = (double)x[i + l] - mean;
      partial[l] += centred * centred;
    }
  for (size_t l = 0; i + l < n; l++) {
    const double centred = (double)x[i + l] - mean;
    partial[l] += centred * centred;
  }
}
