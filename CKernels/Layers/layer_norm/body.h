#include <math.h>

#include "layer_norm/layer_norm.h"
#include "reduce.h"

/// One strip: where it starts in its block's first row, and in the statistics.
typedef struct strip_place {
  size_t origin, statistics, width, block;
} strip_place;

ESP_TARGET ESP_INLINE strip_place place_of(const esp_layer_norm_shape *s, size_t strip) {
  const size_t strips = esp_strips(s->plane);
  const size_t block = strip / strips, column = strip % strips * STRIP, left = s->plane - column;
  return (strip_place){block * s->features * s->plane + column, block * s->plane + column, left < STRIP ? left : STRIP,
                       block};
}

/// sums[i] += row[i] - centre[i], or its square.
ESP_TARGET ESP_INLINE void add_row(const float *restrict row, const float *restrict centre, size_t width, int square,
                                   double *restrict sums) {
  for (size_t i = 0; i < width; i++) {
    const double centred = (double)(row[i] - centre[i]);
    sums[i] += square ? centred * centred : centred;
  }
}

/// mean and inverse_deviation of the strip's columns, 0 in padding lanes. The mean is taken about the first row.
ESP_TARGET static void strip_statistics(const float *restrict x, strip_place place, float epsilon,
                                        const esp_layer_norm_shape *s, float *restrict mean,
                                        float *restrict inverse_deviation) {
  const double n = (double)s->features;
  double sums[STRIP] = {0}, squares[STRIP] = {0};
  for (size_t f = 1; f < s->features; f++) add_row(x + f * s->plane, x, place.width, 0, sums);
  for (size_t i = 0; i < place.width; i++) mean[i] = (float)((double)x[i] + sums[i] / n);
  for (size_t f = 0; f < s->features; f++) add_row(x + f * s->plane, mean, place.width, 1, squares);
  for (size_t i = 0; i < place.width; i++) inverse_deviation[i] = (float)(1 / sqrt(squares[i] / n + (double)epsilon));
  const size_t real = esp_real_lanes(s->samples, s->lanes, place.block);
  for (size_t i = 0; i < place.width && real < s->lanes; i++)
    if ((place.statistics + i) % s->lanes >= real) mean[i] = inverse_deviation[i] = 0;
}

ESP_TARGET static void forward(const float *restrict x, const float *scale, const float *shift, float epsilon,
                               const esp_layer_norm_shape *s, size_t first, size_t last, float *restrict y,
                               float *restrict mean, float *restrict inverse_deviation) {
  for (size_t strip = first; strip < last; strip++) {
    const strip_place place = place_of(s, strip);
    float *restrict const centre = mean + place.statistics;
    float *restrict const factor = inverse_deviation + place.statistics;
    strip_statistics(x + place.origin, place, epsilon, s, centre, factor);
    for (size_t f = 0; f < s->features; f++) {
      const size_t row = place.origin + f * s->plane;
      for (size_t i = 0; i < place.width; i++)
        y[row + i] = scale[f] * ((x[row + i] - centre[i]) * factor[i]) + shift[f];
    }
  }
}

/// Adds one row, of feature f, to the sums down the columns, and returns its sums along the row.
ESP_TARGET ESP_INLINE void reduce_row(const float *restrict x, const float *restrict d, float scale,
                                      const float *restrict centre, const float *restrict factor, size_t width,
                                      double *restrict gradients, double *restrict products, double *scale_sum,
                                      double *shift_sum) {
  double sums[SUM_LANES] = {0}, product_sums[SUM_LANES] = {0};
  for (size_t start = 0; start < width; start += SUM_LANES)
    for (size_t l = 0; l < SUM_LANES && start + l < width; l++) {
      const size_t i = start + l;
      const double g = d[i], product = (double)(d[i] * ((x[i] - centre[i]) * factor[i]));
      sums[l] += g;
      product_sums[l] += product;
      gradients[i] += g * (double)scale;
      products[i] += product * (double)scale;
    }
  *shift_sum = sum_of_lanes(sums);
  *scale_sum = sum_of_lanes(product_sums);
}

ESP_TARGET static void backward(const float *restrict x, const float *restrict d, const float *scale, const float *mean,
                                const float *inverse_deviation, const esp_layer_norm_shape *s, size_t first,
                                size_t last, float *restrict dx, double *sums) {
  for (size_t strip = first; strip < last; strip++) {
    const strip_place place = place_of(s, strip);
    const float *restrict const centre = mean + place.statistics;
    const float *restrict const factor = inverse_deviation + place.statistics;
    double gradients[STRIP] = {0}, products[STRIP] = {0};
    double *const scale_sums = sums + strip * 2 * s->features, *const shift_sums = scale_sums + s->features;
    for (size_t f = 0; f < s->features; f++) {
      const size_t row = place.origin + f * s->plane;
      reduce_row(x + row, d + row, scale[f], centre, factor, place.width, gradients, products, scale_sums + f,
                 shift_sums + f);
    }

    // dx = factor * (g - mean(g) - xhat * mean(g * xhat)), g = scale * d, xhat = (x - mean) * factor
    float offset[STRIP], slope[STRIP];
    for (size_t i = 0; i < place.width; i++) {
      offset[i] = (float)(gradients[i] / (double)s->features);
      slope[i] = (float)(products[i] / (double)s->features * (double)factor[i]);
    }
    for (size_t f = 0; f < s->features; f++) {
      const size_t row = place.origin + f * s->plane;
      for (size_t i = 0; i < place.width; i++)
        dx[row + i] = factor[i] * (scale[f] * d[row + i] - offset[i] - (x[row + i] - centre[i]) * slope[i]);
    }
  }
}

const esp_layer_norm ESP_VARIANT = {forward, backward};
