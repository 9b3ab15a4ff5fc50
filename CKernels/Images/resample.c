#include "resample.h"

#include <assert.h>
#include <math.h>

/// One direction of a resampling.
typedef struct axis {
  /// Where the box begins, after `origin`, and how many pixels of the source one pixel of the result spans.
  double begin, scale;
  /// The first pixel that the box touches, and how many it touches.
  size_t origin, pixels;
  /// The part of the result that is made.
  size_t window, count;
  /// Numbers that one output pixel's taps take.
  size_t stride;
} axis;

/// Half the filter's width, in pixels of the source.
static double support(const axis *a) {
  return a->scale > 1 ? a->scale : 1;
}

static axis make_axis(double begin, double size, size_t resized, size_t window, size_t count) {
  axis a = {.scale = size / (double)resized, .window = window, .count = count};
  a.origin = (size_t)floor(begin);
  a.begin = begin - floor(begin);
  a.pixels = (size_t)ceil(a.begin + size);
  // 2 for the head; even, so that every tap is aligned alike.
  a.stride = 2 + ((size_t)ceil(support(&a)) * 2 + 2) / 2 * 2;
  return a;
}

static axis columns_of(const esp_resampling *r) {
  return make_axis(r->left, r->width, r->resized_width, r->window_left, r->window_width);
}

static axis rows_of(const esp_resampling *r) {
  return make_axis(r->top, r->height, r->resized_height, r->window_top, r->window_height);
}

static double triangle(double x) {
  x = fabs(x);
  return x < 1 ? 1 - x : 0;
}

/// The taps of output pixel `index`, counted from the axis's origin.
static void fill_taps(const axis *a, size_t index, esp_taps *taps) {
  const double reach = support(a), centre = a->begin + ((double)(a->window + index) + 0.5) * a->scale;
  const double low = centre - reach + 0.5, high = centre + reach + 0.5;
  const int32_t first = low > 0 ? (int32_t)low : 0;
  const int32_t end = high < (double)a->pixels ? (int32_t)high : (int32_t)a->pixels;
  const double narrow = 1 / reach;
  double total = 0;
  for (int32_t k = first; k < end; k++) total += triangle((k - centre + 0.5) * narrow);
  taps->first = first;
  taps->count = end - first;
  for (int32_t k = first; k < end; k++) {
    const double weight = triangle((k - centre + 0.5) * narrow) / total;
    taps->weights[k - first] = (int32_t)(0.5 + weight * (1 << ESP_WEIGHT_BITS));
  }
}

static esp_taps *taps_at(int32_t *taps, const axis *a, size_t index) {
  return (esp_taps *)(taps + index * a->stride);
}

static void fill_axis(const axis *a, int32_t *taps) {
  for (size_t i = 0; i < a->count; i++) fill_taps(a, i, taps_at(taps, a, i));
}

/// Bytes of each part of the workspace: taps of columns, of rows, sums of a row, rows between the two directions.
typedef struct layout {
  size_t column_taps, row_taps, sums, between;
} layout;

static size_t round_up(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Rows of the source that the window needs are at most those of the box.
static layout make_layout(const axis *columns, const axis *rows) {
  return (layout){round_up(columns->count * columns->stride * 4), round_up(rows->count * rows->stride * 4),
                  round_up(columns->count * 4), round_up(rows->pixels * 3 * columns->count)};
}

size_t esp_resample_workspace(const esp_resampling *r) {
  const axis columns = columns_of(r), rows = rows_of(r);
  const layout l = make_layout(&columns, &rows);
  return l.column_taps + l.row_taps + l.sums + l.between;
}

static const esp_resampler *resampler_of(esp_isa isa) {
  static const esp_resampler *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_resampler_scalar, &esp_resampler_avx2, &esp_resampler_avx2, &esp_resampler_scalar);
  return table[isa];
}

void esp_resample(esp_isa isa, const esp_resampling *r, const uint8_t *rgb, uint8_t *restrict out,
                  void *restrict workspace) {
  const axis columns = columns_of(r), rows = rows_of(r);
  assert(columns.origin + columns.pixels <= r->source_width && rows.origin + rows.pixels <= r->source_height);
  assert(r->window_left + r->window_width <= r->resized_width);
  assert(r->window_top + r->window_height <= r->resized_height);
  const layout l = make_layout(&columns, &rows);
  char *const bytes = workspace;
  int32_t *const column_taps = (int32_t *)bytes;
  int32_t *const row_taps = (int32_t *)(bytes + l.column_taps);
  int32_t *const sums = (int32_t *)(bytes + l.column_taps + l.row_taps);
  uint8_t *const between = (uint8_t *)(bytes + l.column_taps + l.row_taps + l.sums);
  fill_axis(&columns, column_taps);
  fill_axis(&rows, row_taps);

  const esp_resampler *const kernels = resampler_of(isa);
  const size_t width = columns.count, plane = rows.pixels * width;
  const esp_taps *const last = taps_at(row_taps, &rows, rows.count - 1);
  for (size_t y = (size_t)taps_at(row_taps, &rows, 0)->first; y < (size_t)(last->first + last->count); y++) {
    const uint8_t *const row = rgb + ((rows.origin + y) * r->source_width + columns.origin) * 3;
    kernels->columns(column_taps, columns.stride, width, row, between + y * width, plane);
  }
  for (size_t c = 0; c < 3; c++)
    for (size_t y = 0; y < rows.count; y++)
      kernels->rows(taps_at(row_taps, &rows, y), between + c * plane, width, width, sums,
                    out + (c * rows.count + y) * width);
}
