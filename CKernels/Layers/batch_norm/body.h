#include <math.h>

#include "batch_norm/batch_norm.h"
#include "reduce.h"

/// Which numbers of a block are real: all bits of those are set. live[i] holds for a plane's runs i, i + 2, ...
typedef struct real_runs {
  int_run live[2];
} real_runs;

ESP_TARGET ESP_INLINE void fill_real_runs(const esp_batch_norm *norm, size_t block, real_runs *real) {
  const size_t lanes = esp_real_lanes(norm->samples, norm->lanes, block);
  for (size_t i = 0; i < 2 * SUM_LANES; i++)
    real->live[i / SUM_LANES][i % SUM_LANES] = i % norm->lanes < lanes ? -1 : 0;
}

/// A shorter run's numbers, followed by zeros.
ESP_TARGET ESP_INLINE void copy_rest(const float *x, size_t count, float_run *run) {
  *run = (float_run){0};
  memcpy(run, x, count * sizeof *x);
}

/// The part of `live` that a shorter run has.
ESP_TARGET ESP_INLINE void live_of_rest(const int_run *live, size_t count, int_run *rest) {
  for (size_t l = 0; l < SUM_LANES; l++) (*rest)[l] = l < count ? (*live)[l] : 0;
}

/// The run at p + i, if there is a p.
#define RUN_AT(p, i) ((p) ? (const float_run *)((p) + (i)) : NULL)

ESP_TARGET ESP_INLINE size_t plane_size(const esp_batch_norm *norm) {
  return norm->positions * norm->lanes;
}

// ---- Moments

/// Sums of the distances from `pivot` and of their squares; a padding lane counts as the pivot.
ESP_TARGET ESP_INLINE void moments_run(const float_run *x, const int_run *live, float pivot, double_run *sums,
                                       double_run *squares) {
  const float_run pivots = pivot - (float_run){0};
  const float_run real = (float_run)(((int_run)*x & *live) | ((int_run)pivots & ~*live));
  const double_run centred = ESP_TO_DOUBLES(real) - (double)pivot;
  *sums += centred;
  *squares += centred * centred;
}

ESP_TARGET static void moments(const esp_batch_norm *norm, size_t c, size_t first, size_t last, const float *x,
                               esp_moments *moments) {
  const size_t n = plane_size(norm), whole = n / SUM_LANES * SUM_LANES;
  for (size_t b = first; b < last; b++) {
    const float *const plane = x + (b * norm->channels + c) * n;
    const float pivot = plane[0];
    real_runs real;
    fill_real_runs(norm, b, &real);
    double_run sums = {0}, squares = {0};
    for (size_t i = 0; i < whole; i += SUM_LANES)
      moments_run(RUN_AT(plane, i), &real.live[i / SUM_LANES % 2], pivot, &sums, &squares);
    if (whole < n) {
      float_run rest;
      int_run live;
      copy_rest(plane + whole, n - whole, &rest);
      live_of_rest(&real.live[whole / SUM_LANES % 2], n - whole, &live);
      moments_run(&rest, &live, pivot, &sums, &squares);
    }
    const double count = (double)(norm->positions * esp_real_lanes(norm->samples, norm->lanes, b));
    const double sum = sum_of_lanes(&sums);
    moments[b] = (esp_moments){(double)pivot + sum / count, sum_of_lanes(&squares) - sum * sum / count};
  }
}

// ---- Forward

/// Backward recomputes what forward wrote: both go through here, so that their bits agree.
#define MAPPED(x, map) (((x) - (map).mean) * (map).factor + (map).shift)

/// `floor` is 0 with ReLU and -infinity without; NaN passes.
ESP_TARGET ESP_INLINE void apply_run(const float_run *x, const float_run *residual, const int_run *live,
                                     esp_channel_map map, float floor, float_run *y) {
  float_run value = MAPPED(*x, map);
  if (residual) value += *residual;
  *y = (float_run)((int_run)value & *live & ~(int_run)(value < floor));
}

ESP_TARGET ESP_INLINE void apply_plane(const float *x, const float *residual, size_t n, const real_runs *real,
                                       esp_channel_map map, float floor, float *restrict y) {
  const size_t whole = n / SUM_LANES * SUM_LANES;
  for (size_t i = 0; i < whole; i += SUM_LANES)
    apply_run(RUN_AT(x, i), RUN_AT(residual, i), &real->live[i / SUM_LANES % 2], map, floor, (float_run *)(y + i));
  if (whole == n) return;
  float_run rest, added, result;
  copy_rest(x + whole, n - whole, &rest);
  if (residual) copy_rest(residual + whole, n - whole, &added);
  apply_run(&rest, residual ? &added : NULL, &real->live[whole / SUM_LANES % 2], map, floor, &result);
  memcpy(y + whole, &result, (n - whole) * sizeof *y);
}

ESP_TARGET static void apply(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last,
                             const float *x, const float *residual, float *restrict y) {
  const size_t n = plane_size(norm);
  const float floor = norm->relu ? 0 : -HUGE_VALF;
  for (size_t b = first; b < last; b++) {
    const size_t at = (b * norm->channels + c) * n;
    real_runs real;
    fill_real_runs(norm, b, &real);
    if (residual)
      apply_plane(x + at, residual + at, n, &real, map, floor, y + at);
    else
      apply_plane(x + at, NULL, n, &real, map, floor, y + at);
  }
}

// ---- Backward

/// What says which outputs the activation lets through: nothing (all pass), the output recomputed from x, or y.
typedef enum passing { PASSES_ALL, PASSES_BY_X, PASSES_BY_Y } passing;

ESP_TARGET ESP_INLINE void reduce_run(const float_run *x, const float_run *y, const float_run *d, const int_run *live,
                                      esp_channel_map map, passing by, float_run *masked, double_run *sums,
                                      double_run *products) {
  float_run g = *d;
  if (by == PASSES_BY_X) g = (float_run)((int_run)g & (int_run)(MAPPED(*x, map) > 0));
  if (by == PASSES_BY_Y) *masked = g = (float_run)((int_run)g & (int_run)(*y > 0));
  const float_run centred = (float_run)((int_run)(*x - map.mean) & *live);
  const double_run wide = ESP_TO_DOUBLES(g);
  *sums += wide;
  *products += wide * ESP_TO_DOUBLES(centred);
}

ESP_TARGET ESP_INLINE void reduce_plane(const esp_norm_gradients *g, size_t at, size_t n, const real_runs *real,
                                        esp_channel_map map, passing by, esp_norm_sums *result) {
  const float *const x = g->x + at, *const d = g->d + at, *const y = by == PASSES_BY_Y ? g->y + at : NULL;
  float *const masked = by == PASSES_BY_Y ? g->residual + at : NULL;
  const size_t whole = n / SUM_LANES * SUM_LANES;
  double_run sums = {0}, products = {0};
  for (size_t i = 0; i < whole; i += SUM_LANES)
    reduce_run(RUN_AT(x, i), RUN_AT(y, i), RUN_AT(d, i), &real->live[i / SUM_LANES % 2], map, by,
               (float_run *)RUN_AT(masked, i), &sums, &products);
  if (whole < n) {
    float_run rests[3], result;
    int_run live;
    copy_rest(x + whole, n - whole, &rests[0]);
    if (by == PASSES_BY_Y) copy_rest(y + whole, n - whole, &rests[1]);
    copy_rest(d + whole, n - whole, &rests[2]);
    live_of_rest(&real->live[whole / SUM_LANES % 2], n - whole, &live);
    reduce_run(&rests[0], &rests[1], &rests[2], &live, map, by, &result, &sums, &products);
    if (by == PASSES_BY_Y) memcpy(masked + whole, &result, (n - whole) * sizeof *masked);
  }
  result->gradient = sum_of_lanes(&sums);
  result->product = sum_of_lanes(&products);
}

ESP_TARGET static void reduce(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last,
                              const esp_norm_gradients *gradients, esp_norm_sums *sums) {
  const size_t n = plane_size(norm);
  for (size_t b = first; b < last; b++) {
    const size_t at = (b * norm->channels + c) * n;
    real_runs real;
    fill_real_runs(norm, b, &real);
    if (!norm->relu)
      reduce_plane(gradients, at, n, &real, map, PASSES_ALL, &sums[b]);
    else if (gradients->y)
      reduce_plane(gradients, at, n, &real, map, PASSES_BY_Y, &sums[b]);
    else
      reduce_plane(gradients, at, n, &real, map, PASSES_BY_X, &sums[b]);
  }
}

ESP_TARGET ESP_INLINE void correct_run(const float_run *x, const float_run *d, const int_run *live, esp_channel_map map,
                                       passing by, esp_norm_correction correction, float_run *dx, double_run *sums) {
  float_run g = *d;
  if (by == PASSES_BY_X) g = (float_run)((int_run)g & (int_run)(MAPPED(*x, map) > 0));
  const float_run all = (g - correction.offset - (*x - map.mean) * correction.slope) * map.factor;
  const float_run result = (float_run)((int_run)all & *live);
  *dx = result;
  *sums += ESP_TO_DOUBLES(result);
}

/// d: masked already where y said what passes.
ESP_TARGET ESP_INLINE void correct_plane(const float *x, const float *d, size_t n, const real_runs *real,
                                         esp_channel_map map, passing by, esp_norm_correction correction, float *dx,
                                         esp_norm_sums *result) {
  const size_t whole = n / SUM_LANES * SUM_LANES;
  double_run sums = {0};
  for (size_t i = 0; i < whole; i += SUM_LANES)
    correct_run(RUN_AT(x, i), RUN_AT(d, i), &real->live[i / SUM_LANES % 2], map, by, correction, (float_run *)(dx + i),
                &sums);
  if (whole < n) {
    float_run rests[2], result;
    int_run live;
    copy_rest(x + whole, n - whole, &rests[0]);
    copy_rest(d + whole, n - whole, &rests[1]);
    live_of_rest(&real->live[whole / SUM_LANES % 2], n - whole, &live);
    correct_run(&rests[0], &rests[1], &live, map, by, correction, &result, &sums);
    memcpy(dx + whole, &result, (n - whole) * sizeof *dx);
  }
  result->input = sum_of_lanes(&sums);
}

ESP_TARGET static void correct(const esp_batch_norm *norm, esp_channel_map map, esp_norm_correction correction,
                               size_t c, size_t first, size_t last, const esp_norm_gradients *gradients,
                               esp_norm_sums *sums) {
  const size_t n = plane_size(norm);
  const float *const d = gradients->y ? gradients->residual : gradients->d;
  for (size_t b = first; b < last; b++) {
    const size_t at = (b * norm->channels + c) * n;
    real_runs real;
    fill_real_runs(norm, b, &real);
    if (norm->relu && !gradients->y)
      correct_plane(gradients->x + at, d + at, n, &real, map, PASSES_BY_X, correction, gradients->dx + at, &sums[b]);
    else
      correct_plane(gradients->x + at, d + at, n, &real, map, PASSES_ALL, correction, gradients->dx + at, &sums[b]);
  }
}

const esp_batch_norm_kernels ESP_VARIANT = {moments, apply, reduce, correct};
