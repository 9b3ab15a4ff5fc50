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

enum { ROWS_AT_ONCE = 8 };

/// Adds `rows` rows' distances from `centre`, and their squares, to the sums down the columns.
ESP_TARGET ESP_INLINE void add_rows(const float *x, size_t plane, size_t rows, const float *centre, size_t width,
                                    double *restrict sums, double *restrict squares) {
  for (size_t i = 0; i < width; i++) {
    double sum = sums[i], square = squares[i];
    for (size_t r = 0; r < rows; r++) {
      const double distance = (double)(x[r * plane + i] - centre[i]);
      sum += distance;
      square += distance * distance;
    }
    sums[i] = sum;
    squares[i] = square;
  }
}

/// mean and inverse_deviation of the strip's columns, 0 in padding lanes. Moments are taken about the column's first
/// element, which is within sqrt(features) deviations of the mean: in double, their difference loses next to nothing.
ESP_TARGET static void strip_statistics(const float *x, strip_place place, float epsilon, const esp_layer_norm_shape *s,
                                        float *restrict mean, float *restrict inverse_deviation) {
  const double n = (double)s->features;
  double sums[STRIP] = {0}, squares[STRIP] = {0};
  size_t f = 0;
  for (; f + ROWS_AT_ONCE <= s->features; f += ROWS_AT_ONCE)
    add_rows(x + f * s->plane, s->plane, ROWS_AT_ONCE, x, place.width, sums, squares);
  for (; f < s->features; f++) add_rows(x + f * s->plane, s->plane, 1, x, place.width, sums, squares);
  for (size_t i = 0; i < place.width; i++) {
    const double distance = sums[i] / n, variance = squares[i] / n - distance * distance;
    mean[i] = (float)((double)x[i] + distance);
    inverse_deviation[i] = (float)(1 / sqrt((variance < 0 ? 0 : variance) + (double)epsilon));
  }
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

/// A row of a strip, of one feature, and what is known of its columns.
typedef struct strip_row {
  const float *x, *d, *centre, *factor;
  double scale;
} strip_row;

/// Adds `count` <= SUM_LANES elements from `start` on to the sums down the columns and to those along the row.
ESP_TARGET ESP_INLINE void reduce_elements(strip_row row, size_t start, size_t count, double *restrict gradients,
                                           double *restrict products, double *restrict shift_sums,
                                           double *restrict scale_sums) {
  for (size_t l = 0; l < count; l++) {
    const size_t i = start + l;
    const double g = (double)row.d[i];
    const double product = (double)(row.d[i] * ((row.x[i] - row.centre[i]) * row.factor[i]));
    shift_sums[l] += g;
    scale_sums[l] += product;
    gradients[i] += g * row.scale;
    products[i] += product * row.scale;
  }
}

/// Adds a row to the sums down the columns; its sums along the row are its part of the gradients of scale and shift.
ESP_TARGET ESP_INLINE void reduce_row(strip_row row, size_t width, double *restrict gradients,
                                      double *restrict products, double *scale_sum, double *shift_sum) {
  double shift_sums[SUM_LANES] = {0}, scale_sums[SUM_LANES] = {0};
  size_t i = 0;
  for (; i + SUM_LANES <= width; i += SUM_LANES)
    reduce_elements(row, i, SUM_LANES, gradients, products, shift_sums, scale_sums);
  reduce_elements(row, i, width - i, gradients, products, shift_sums, scale_sums);
  *shift_sum = sum_of_lanes(shift_sums);
  *scale_sum = sum_of_lanes(scale_sums);
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
      reduce_row((strip_row){x + row, d + row, centre, factor, (double)scale[f]}, place.width, gradients, products,
                 scale_sums + f, shift_sums + f);
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
