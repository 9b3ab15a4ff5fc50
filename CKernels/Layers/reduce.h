// Sums over contiguous floats, in double. Included by bodies, after ESP_TARGET is defined.

#include <string.h>

#include "variants.h"

/// Element i of a range is added to partial sum i % SUM_LANES, so that a sum vectorises and has one order.
enum { SUM_LANES = 16 };

/// A run of SUM_LANES numbers: whatever vectors the instruction set has, the compiler makes it of those.
typedef float float_run __attribute__((vector_size(64), aligned(4)));
typedef int32_t int_run __attribute__((vector_size(64), aligned(4)));
typedef double double_run __attribute__((vector_size(128)));

#define ESP_TO_DOUBLES(run) __builtin_convertvector(run, double_run)

/// Adds the partial sums in a fixed tree.
ESP_TARGET ESP_INLINE double sum_of_lanes(const double_run *sums) {
  double partial[SUM_LANES];
  memcpy(partial, sums, sizeof partial);
  for (size_t half = SUM_LANES / 2; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) partial[l] += partial[l + half];
  return partial[0];
}

/// partial += x [n].
ESP_TARGET ESP_INLINE void add_run(const float *x, size_t n, double_run *partial) {
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES) *partial += ESP_TO_DOUBLES(*(const float_run *)(x + i));
  float_run rest = {0};
  memcpy(&rest, x + i, (n - i) * sizeof *x);
  *partial += ESP_TO_DOUBLES(rest);
}
