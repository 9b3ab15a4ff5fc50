#include <math.h>

#include "batch_norm/batch_norm.h"
#include "reduce.h"

/// One channel of one block.
typedef struct plane {
  size_t at, next;  // where it starts, and where the one starts that its thread comes to next
  size_t size, runs;
  int_run live[2];  // all bits of real lanes set: live[i % 2] holds for the plane's i-th run
} plane;

ESP_TARGET ESP_INLINE void fill_plane(const esp_batch_norm *norm, size_t c, size_t b, size_t first, size_t last,
                                      plane *p) {
  const size_t real = esp_real_lanes(norm->samples, norm->lanes, b);
  p->size = norm->positions * norm->lanes;
  p->runs = p->size / SUM_LANES;
  p->at = (b * norm->channels + c) * p->size;
  const size_t next_channel = c + 1 < norm->channels ? c + 1 : c;
  p->next = (b + 1 < last ? (b + 1) * norm->channels + c : first * norm->channels + next_channel) * p->size;
  memset(p->live, -1, sizeof p->live);
  if (real == norm->lanes) return;
  for (size_t i = 0; i < 2 * SUM_LANES; i++)
    if (i % norm->lanes >= real) p->live[i / SUM_LANES][i % SUM_LANES] = 0;
}

/// Calls for the next plane's part at `offset`, so that it is on its way while this one is worked on. Long planes have
/// their four streams instead.
#define FETCH_NEXT(p, pointer, offset) \
  if ((p)->runs < LONG_RANGE) __builtin_prefetch((pointer) + (p)->next + (offset))

/// The run at p + i, if there is a p.
#define RUN_AT(p, i) ((p) ? (float_run *)((p) + (i)) : NULL)
#define CONST_RUN_AT(p, i) ((p) ? (const float_run *)((p) + (i)) : NULL)

/// A plane's last numbers, fewer than a run.
ESP_TARGET ESP_INLINE size_t rest_of(const plane *p) {
  return p->size - p->runs * SUM_LANES;
}

/// Those numbers of x, followed by zeros.
ESP_TARGET ESP_INLINE void copy_rest(const float *x, const plane *p, float_run *run) {
  *run = (float_run){0};
  memcpy(run, x + p->at + p->runs * SUM_LANES, rest_of(p) * sizeof *x);
}

/// Which of them are real.
ESP_TARGET ESP_INLINE void live_of_rest(const plane *p, int_run *live) {
  for (size_t l = 0; l < SUM_LANES; l++) (*live)[l] = l < rest_of(p) ? p->live[p->runs % 2][l] : 0;
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
  for (size_t b = first; b < last; b++) {
    plane p;
    fill_plane(norm, c, b, first, last, &p);
    const float pivot = x[p.at];
    double_run sums = {0}, squares = {0};
    for (size_t k = 0; k < p.runs; k++) {
      const size_t i = run_start(k, p.runs);
      FETCH_NEXT(&p, x, i);
      moments_run(CONST_RUN_AT(x, p.at + i), &p.live[i / SUM_LANES % 2], pivot, &sums, &squares);
    }
    if (rest_of(&p) > 0) {
      float_run rest;
      int_run live;
      copy_rest(x, &p, &rest);
      live_of_rest(&p, &live);
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

ESP_TARGET ESP_INLINE void apply_plane(const plane *p, const float *x, const float *residual, esp_channel_map map,
                                       float floor, float *restrict y) {
  for (size_t k = 0; k < p->runs; k++) {
    const size_t i = run_start(k, p->runs);
    FETCH_NEXT(p, x, i);
    FETCH_NEXT(p, y, i);
    if (residual) FETCH_NEXT(p, residual, i);
    apply_run(CONST_RUN_AT(x, p->at + i), CONST_RUN_AT(residual, p->at + i), &p->live[i / SUM_LANES % 2], map, floor,
              RUN_AT(y, p->at + i));
  }
  if (rest_of(p) == 0) return;
  float_run rest, added, result;
  copy_rest(x, p, &rest);
  if (residual) copy_rest(residual, p, &added);
  apply_run(&rest, residual ? &added : NULL, &p->live[p->runs % 2], map, floor, &result);
  memcpy(y + p->at + p->runs * SUM_LANES, &result, rest_of(p) * sizeof *y);
}

ESP_TARGET static void apply(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last,
                             const float *x, const float *residual, float *restrict y) {
  const float floor = norm->relu ? 0 : -HUGE_VALF;
  for (size_t b = first; b < last; b++) {
    plane p;
    fill_plane(norm, c, b, first, last, &p);
    if (residual)
      apply_plane(&p, x, residual, map, floor, y);
    else
      apply_plane(&p, x, NULL, map, floor, y);
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

ESP_TARGET ESP_INLINE void reduce_plane(const plane *p, const esp_norm_gradients *g, esp_channel_map map, passing by,
                                        esp_norm_sums *result) {
  const float *const x = g->x, *const d = g->d, *const y = by == PASSES_BY_Y ? g->y : NULL;
  float *const masked = by == PASSES_BY_Y ? g->residual : NULL;
  double_run sums = {0}, products = {0};
  for (size_t k = 0; k < p->runs; k++) {
    // x, y, d and what is written are four streams already.
    const size_t i = y ? k * SUM_LANES : run_start(k, p->runs);
    FETCH_NEXT(p, x, i);
    FETCH_NEXT(p, d, i);
    if (y) FETCH_NEXT(p, y, i);
    if (y) FETCH_NEXT(p, masked, i);
    reduce_run(CONST_RUN_AT(x, p->at + i), CONST_RUN_AT(y, p->at + i), CONST_RUN_AT(d, p->at + i),
               &p->live[i / SUM_LANES % 2], map, by, RUN_AT(masked, p->at + i), &sums, &products);
  }
  if (rest_of(p) > 0) {
    float_run rests[3], last;
    int_run live;
    copy_rest(x, p, &rests[0]);
    if (y) copy_rest(y, p, &rests[1]);
    copy_rest(d, p, &rests[2]);
    live_of_rest(p, &live);
    reduce_run(&rests[0], &rests[1], &rests[2], &live, map, by, &last, &sums, &products);
    if (y) memcpy(masked + p->at + p->runs * SUM_LANES, &last, rest_of(p) * sizeof *masked);
  }
  result->gradient = sum_of_lanes(&sums);
  result->product = sum_of_lanes(&products);
}

ESP_TARGET static void reduce(const esp_batch_norm *norm, esp_channel_map map, size_t c, size_t first, size_t last,
                              const esp_norm_gradients *gradients, esp_norm_sums *sums) {
  for (size_t b = first; b < last; b++) {
    plane p;
    fill_plane(norm, c, b, first, last, &p);
    if (!norm->relu)
      reduce_plane(&p, gradients, map, PASSES_ALL, &sums[b]);
    else if (gradients->y)
      reduce_plane(&p, gradients, map, PASSES_BY_Y, &sums[b]);
    else
      reduce_plane(&p, gradients, map, PASSES_BY_X, &sums[b]);
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
ESP_TARGET ESP_INLINE void correct_plane(const plane *p, const float *x, const float *d, esp_channel_map map,
                                         passing by, esp_norm_correction correction, float *dx, esp_norm_sums *result) {
  double_run sums = {0};
  for (size_t k = 0; k < p->runs; k++) {
    const size_t i = run_start(k, p->runs);
    FETCH_NEXT(p, x, i);
    FETCH_NEXT(p, d, i);
    FETCH_NEXT(p, dx, i);
    correct_run(CONST_RUN_AT(x, p->at + i), CONST_RUN_AT(d, p->at + i), &p->live[i / SUM_LANES % 2], map, by,
                correction, RUN_AT(dx, p->at + i), &sums);
  }
  if (rest_of(p) > 0) {
    float_run rests[2], last;
    int_run live;
    copy_rest(x, p, &rests[0]);
    copy_rest(d, p, &rests[1]);
    live_of_rest(p, &live);
    correct_run(&rests[0], &rests[1], &live, map, by, correction, &last, &sums);
    memcpy(dx + p->at + p->runs * SUM_LANES, &last, rest_of(p) * sizeof *dx);
  }
  result->input = sum_of_lanes(&sums);
}

ESP_TARGET static void correct(const esp_batch_norm *norm, esp_channel_map map, esp_norm_correction correction,
                               size_t c, size_t first, size_t last, const esp_norm_gradients *gradients,
                               esp_norm_sums *sums) {
  const float *const d = gradients->y ? gradients->residual : gradients->d;
  for (size_t b = first; b < last; b++) {
    plane p;
    fill_plane(norm, c, b, first, last, &p);
    if (norm->relu && !gradients->y)
      correct_plane(&p, gradients->x, d, map, PASSES_BY_X, correction, gradients->dx, &sums[b]);
    else
      correct_plane(&p, gradients->x, d, map, PASSES_ALL, correction, gradients->dx, &sums[b]);
  }
}

const esp_batch_norm_kernels ESP_VARIANT = {moments, apply, reduce, correct};
