#include <math.h>
#include <string.h>

#include "layer_norm/layer_norm.h"
#include "reduce.h"

/// A token's numbers are taken in rows of WIDTH, of one feature or of several: number i is of lane i % lanes.
enum { WIDTH = 32, RUNS = WIDTH / SUM_LANES };

/// Adds a row's distances from `centre`, and their squares, to the sums.
ESP_TARGET ESP_INLINE void add_row(const float *row, const float_run *centre, double_run *sums, double_run *squares) {
  for (size_t r = 0; r < RUNS; r++) {
    const double_run distance = ESP_TO_DOUBLES(*(const float_run *)(row + r * SUM_LANES) - centre[r]);
    sums[r] += distance;
    squares[r] += distance * distance;
  }
}

/// mean and inverse_deviation [lanes] of one token x [features, lanes]. Moments are taken about the lane's first
/// element, which is within sqrt(features) deviations of the mean: in double, their difference loses next to nothing.
ESP_TARGET static void token_statistics(const float *x, float epsilon, const esp_layer_norm_shape *s,
                                        float *restrict mean, float *restrict inverse_deviation) {
  const size_t n = s->features * s->lanes, whole = n / WIDTH * WIDTH;
  double sums[WIDTH], squares[WIDTH];
  {
    float first[WIDTH];
    float_run centre[RUNS];
    double_run sum[RUNS] = {{0}}, square[RUNS] = {{0}};
    for (size_t i = 0; i < WIDTH; i++) first[i] = x[i % s->lanes];
    memcpy(centre, first, sizeof centre);
    for (size_t i = 0; i < whole; i += WIDTH) add_row(x + i, centre, sum, square);
    if (whole < n) {
      memcpy(first, x + whole, (n - whole) * sizeof *x);
      add_row(first, centre, sum, square);
    }
    memcpy(sums, sum, sizeof sum);
    memcpy(squares, square, sizeof square);
  }
  for (size_t half = WIDTH / 2; half >= s->lanes; half /= 2)
    for (size_t i = 0; i < half; i++) {
      sums[i] += sums[i + half];
      squares[i] += squares[i + half];
    }
  const double features = (double)s->features;
  for (size_t l = 0; l < s->lanes; l++) {
    const double distance = sums[l] / features, variance = squares[l] / features - distance * distance;
    mean[l] = (float)((double)x[l] + distance);
    inverse_deviation[l] = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon));
  }
}

/// y := scale * (x - mean) * inverse_deviation + shift, for one token.
ESP_TARGET ESP_INLINE void apply(const float *restrict x, const float *restrict scale, const float *restrict shift,
                                 size_t features, size_t lanes, const float *mean, const float *inverse_deviation,
                                 float *restrict y) {
  float centre[32], factor[32];
  memcpy(centre, mean, lanes * sizeof *mean);
  memcpy(factor, inverse_deviation, lanes * sizeof *mean);
  for (size_t f = 0; f < features; f++)
    for (size_t l = 0; l < lanes; l++)
      y[f * lanes + l] = scale[f] * ((x[f * lanes + l] - centre[l]) * factor[l]) + shift[f];
}

ESP_TARGET static void normalise(const float *restrict x, const float *scale, const float *shift,
                                 const esp_layer_norm_shape *s, size_t first, size_t last, const float *mean,
                                 const float *inverse_deviation, float *restrict y) {
  for (size_t token = first; token < last; token++) {
    const size_t origin = token * s->features * s->lanes;
    const float *const centre = mean + token * s->lanes, *const factor = inverse_deviation + token * s->lanes;
    switch (s->lanes) {
      case 1:
        apply(x + origin, scale, shift, s->features, 1, centre, factor, y + origin);
        break;
      case 8:
        apply(x + origin, scale, shift, s->features, 8, centre, factor, y + origin);
        break;
      case 16:
        apply(x + origin, scale, shift, s->features, 16, centre, factor, y + origin);
        break;
      default:
        apply(x + origin, scale, shift, s->features, 32, centre, factor, y + origin);
        break;
    }
  }
}

ESP_TARGET static void forward(const float *restrict x, const float *scale, const float *shift, float epsilon,
                               const esp_layer_norm_shape *s, size_t first, size_t last, float *restrict y,
                               float *restrict mean, float *restrict inverse_deviation) {
  for (size_t token = first; token < last; token++) {
    float *const centre = mean + token * s->lanes, *const factor = inverse_deviation + token * s->lanes;
    token_statistics(x + token * s->features * s->lanes, epsilon, s, centre, factor);
    for (size_t l = esp_real_lanes(s->samples, s->lanes, token / s->tokens); l < s->lanes; l++)
      centre[l] = factor[l] = 0;
    normalise(x, scale, shift, s, token, token + 1, mean, inverse_deviation, y);
  }
}

/// Tokens, `stride` apart, in some lanes.
typedef struct group_place {
  const float *x, *d, *scale, *mean, *inverse_deviation, *base;
  float *dx;
  size_t features, stride, lanes;
} group_place;

enum { CHUNK = 8 };  // features whose gradients are added in float, before they go into sums in double

#define LANES 1
#include "layer_norm/gradient.h"
#undef LANES
#define LANES 8
#include "layer_norm/gradient.h"
#undef LANES
#define LANES 16
#include "layer_norm/gradient.h"
#undef LANES

ESP_TARGET static void backward(const float *x, const float *d, const float *scale, const float *mean,
                                const float *inverse_deviation, const float *base, const esp_layer_norm_shape *s,
                                size_t first, size_t last, float *dx, double *sums) {
  const size_t groups = esp_groups(s->tokens), stride = s->features * s->lanes;
  for (size_t group = first; group < last; group++) {
    const size_t block = group / groups, start = group % groups * GROUP, left = s->tokens - start;
    const size_t token = block * s->tokens + start;
    double *const scale_sums = sums + group * 2 * s->features, *const shift_sums = scale_sums + s->features;
    const group_place place = {x + token * stride,
                               d + token * stride,
                               scale,
                               mean + token * s->lanes,
                               inverse_deviation + token * s->lanes,
                               base ? base + token * stride : NULL,
                               dx + token * stride,
                               s->features,
                               stride,
                               s->lanes};
    const size_t count = left < GROUP ? left : GROUP;
    if (s->lanes == 1)
      group_gradient_1(place, count, scale_sums, shift_sums);
    else if (s->lanes == 8)
      group_gradient_8(place, count, scale_sums, shift_sums);
    else
      group_gradient_16(place, count, scale_sums, shift_sums);
  }
}

const esp_layer_norm ESP_VARIANT = {forward, normalise, backward};
