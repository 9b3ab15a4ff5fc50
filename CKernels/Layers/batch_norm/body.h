#include <math.h>

#include "batch_norm/batch_norm.h"
#include "reduce.h"

/// The real elements of a block's planes: `count` runs of `length` contiguous floats, `stride` apart.
typedef struct real_runs {
  size_t count, length, stride;
} real_runs;

ESP_TARGET ESP_INLINE real_runs runs_of(const esp_norm_shape *s, size_t block) {
  const size_t real = esp_real_lanes(s->samples, s->lanes, block);
  if (real == s->lanes) return (real_runs){1, s->positions * s->lanes, s->positions * s->lanes};
  return (real_runs){s->positions, real, s->lanes};
}

/// A channel's constants: y = (x - mean) * factor + shift.
typedef struct channel_map {
  float mean, factor, shift;
  double inverse_deviation;
} channel_map;

ESP_TARGET ESP_INLINE channel_map map_of(const esp_norm_parameters *p, size_t c) {
  const double inverse_deviation = 1 / sqrt((double)p->variance[c] + (double)p->epsilon);
  return (channel_map){p->mean[c], (float)((double)p->scale[c] * inverse_deviation), p->shift[c], inverse_deviation};
}

/// Backward recomputes what forward wrote: both go through here, so that their bits agree.
ESP_TARGET ESP_INLINE float mapped(float x, channel_map map) {
  return (x - map.mean) * map.factor + map.shift;
}

ESP_TARGET static void statistics(const float *x, const esp_norm_shape *s, size_t first, size_t last, float *mean,
                                  float *variance) {
  const size_t plane = s->positions * s->lanes, blocks = esp_block_count(s->samples, s->lanes);
  for (size_t c = first; c < last; c++) {
    double total = 0, total_mean = 0, total_squares = 0;
    for (size_t b = 0; b < blocks; b++) {
      const float *const xp = x + (b * s->channels + c) * plane;
      const real_runs runs = runs_of(s, b);
      const double n = (double)(runs.count * runs.length);
      double sums[SUM_LANES] = {0}, squares[SUM_LANES] = {0};
      for (size_t r = 0; r < runs.count; r++) add_run(xp + r * runs.stride, runs.length, sums);
      const double block_mean = sum_of_lanes(sums) / n;
      for (size_t r = 0; r < runs.count; r++) add_squares(xp + r * runs.stride, runs.length, block_mean, squares);
      const double delta = block_mean - total_mean;
      total_squares += sum_of_lanes(squares) + delta * delta * (total * n / (total + n));
      total_mean += delta * (n / (total + n));
      total += n;
    }
    mean[c] = (float)total_mean;
    variance[c] = (float)(total_squares / total);
  }
}

ESP_TARGET ESP_INLINE void map_run(const float *restrict x, size_t n, channel_map map, int relu, float *restrict y) {
  for (size_t i = 0; i < n; i++) {
    const float value = mapped(x[i], map);
    y[i] = relu && value < 0 ? 0 : value;  // NaN passes
  }
}

ESP_TARGET static void forward(const float *restrict x, const esp_norm_parameters *parameters, const esp_norm_shape *s,
                               size_t first, size_t last, float *restrict y) {
  const size_t plane = s->positions * s->lanes;
  for (size_t p = first; p < last; p++) {
    const channel_map map = map_of(parameters, p % s->channels);
    const real_runs runs = runs_of(s, p / s->channels);
    for (size_t r = 0; r < runs.count; r++) {
      const size_t at = p * plane + r * runs.stride;
      if (parameters->relu)
        map_run(x + at, runs.length, map, 1, y + at);
      else
        map_run(x + at, runs.length, map, 0, y + at);
      for (size_t l = runs.length; l < runs.stride; l++) y[at + l] = 0;
    }
  }
}

/// The gradient that passes the activation.
ESP_TARGET ESP_INLINE float passed(float x, float d, channel_map map, int relu) {
  return !relu || mapped(x, map) > 0 ? d : 0;
}

/// sums += g, products += g * (x - mean), with g the gradient that passes the activation.
ESP_TARGET ESP_INLINE void reduce_run(const float *x, const float *d, size_t n, channel_map map, int relu,
                                      double sums[SUM_LANES], double products[SUM_LANES]) {
  size_t i = 0;
  for (; i + SUM_LANES <= n; i += SUM_LANES)
    for (size_t l = 0; l < SUM_LANES; l++) {
      const double g = passed(x[i + l], d[i + l], map, relu);
      sums[l] += g;
      products[l] += g * (double)(x[i + l] - map.mean);
    }
  for (size_t l = 0; i + l < n; l++) {
    const double g = passed(x[i + l], d[i + l], map, relu);
    sums[l] += g;
    products[l] += g * (double)(x[i + l] - map.mean);
  }
}

ESP_TARGET ESP_INLINE void gradient_run(const float *restrict x, const float *restrict d, size_t n, channel_map map,
                                        int relu, float offset, float slope, float *restrict dx) {
  for (size_t i = 0; i < n; i++)
    dx[i] = map.factor * (passed(x[i], d[i], map, relu) - offset - (x[i] - map.mean) * slope);
}

ESP_TARGET ESP_INLINE void backward_channel(const float *restrict x, const float *restrict d, channel_map map, int relu,
                                            const esp_norm_shape *s, size_t c, float *restrict dx,
                                            float *scale_gradient, float *shift_gradient) {
  const size_t plane = s->positions * s->lanes, blocks = esp_block_count(s->samples, s->lanes);
  double sum = 0, product = 0;
  for (size_t b = 0; b < blocks; b++) {
    const real_runs runs = runs_of(s, b);
    double sums[SUM_LANES] = {0}, products[SUM_LANES] = {0};
    for (size_t r = 0; r < runs.count; r++) {
      const size_t at = (b * s->channels + c) * plane + r * runs.stride;
      reduce_run(x + at, d + at, runs.length, map, relu, sums, products);
    }
    sum += sum_of_lanes(sums);
    product += sum_of_lanes(products);
  }
  *shift_gradient = (float)sum;
  *scale_gradient = (float)(product * map.inverse_deviation);

  // dx = factor * (g - mean(g) - xhat * mean(g * xhat)), xhat = (x - mean) * inverse_deviation
  const double n = (double)(s->samples * s->positions);
  const float offset = (float)(sum / n);
  const float slope = (float)(product / n * map.inverse_deviation * map.inverse_deviation);
  for (size_t b = 0; b < blocks; b++) {
    const real_runs runs = runs_of(s, b);
    for (size_t r = 0; r < runs.count; r++) {
      const size_t at = (b * s->channels + c) * plane + r * runs.stride;
      gradient_run(x + at, d + at, runs.length, map, relu, offset, slope, dx + at);
      for (size_t l = runs.length; l < runs.stride; l++) dx[at + l] = 0;
    }
  }
}

ESP_TARGET static void backward(const float *restrict x, const float *restrict d, const esp_norm_parameters *parameters,
                                const esp_norm_shape *s, size_t first, size_t last, float *restrict dx,
                                float *scale_gradient, float *shift_gradient) {
  for (size_t c = first; c < last; c++) {
    const channel_map map = map_of(parameters, c);
    if (parameters->relu)
      backward_channel(x, d, map, 1, s, c, dx, scale_gradient + c, shift_gradient + c);
    else
      backward_channel(x, d, map, 0, s, c, dx, scale_gradient + c, shift_gradient + c);
  }
}

const esp_batch_norm ESP_VARIANT = {statistics, forward, backward};
