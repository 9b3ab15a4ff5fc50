// Maximum pooling. Included by body.h; `lanes` is a constant wherever a loop over it should vectorise.

#include <string.h>

#include "pooling/pooling.h"

/// The larger, the first where they tie; NaN wins over numbers, and the first NaN over later ones.
ESP_TARGET ESP_INLINE float larger(float first, float second) {
  return ((first >= second) | (first != first)) ? first : second;
}

/// Whether x is the window's maximum y.
ESP_TARGET ESP_INLINE int is_maximum(float x, float y) {
  return (x == y) | (x != x);
}

/// The k-th of `outputs` windows in the order that a plane is walked through: in four quarters at once where that makes
/// four streams of whole pages, which memory gives faster than one.
ESP_TARGET ESP_INLINE size_t window_in_order(size_t k, size_t outputs) {
  const size_t quarter = outputs < 64 ? 0 : outputs / 4;
  return k < 4 * quarter ? k % 4 * quarter + k / 4 : k;
}

ESP_TARGET ESP_INLINE void max_pairs(const float *restrict x, const esp_pool_shape *s, size_t lanes,
                                     float *restrict y) {
  const size_t outputs = s->out_height * s->out_width;
  for (size_t k = 0; k < outputs; k++) {
    const size_t o = window_in_order(k, outputs), i = o / s->out_width, j = o % s->out_width;
    const float *const upper = x + (2 * i * s->in_width + 2 * j) * lanes;
    const float *const lower = upper + s->in_width * lanes;
    float *const out = y + o * lanes;
    for (size_t l = 0; l < lanes; l++)
      out[l] = larger(larger(larger(upper[l], upper[l + lanes]), lower[l]), lower[l + lanes]);
  }
}

ESP_TARGET ESP_INLINE void max_windows(const float *restrict x, const esp_pool_shape *s, size_t lanes,
                                       float *restrict y) {
  for (size_t i = 0; i < s->out_height; i++)
    for (size_t j = 0; j < s->out_width; j++) {
      const esp_window w = esp_window_at(s, i, j);
      float *const out = y + (i * s->out_width + j) * lanes;
      memcpy(out, x + (w.top * s->in_width + w.left) * lanes, lanes * sizeof *out);
      for (size_t row = w.top; row < w.bottom; row++)
        for (size_t column = w.left; column < w.right; column++) {
          const float *const in = x + (row * s->in_width + column) * lanes;
          for (size_t l = 0; l < lanes; l++) out[l] = larger(out[l], in[l]);
        }
    }
}

/// No two windows meet, so that every element of dx is written once; what no window covers becomes 0.
ESP_TARGET ESP_INLINE void max_pairs_backward(const float *restrict x, const float *restrict y, const float *restrict d,
                                              const esp_pool_shape *s, size_t lanes, float *restrict dx) {
  const size_t row = s->in_width * lanes, covered = 2 * s->out_width * lanes, outputs = s->out_height * s->out_width;
  for (size_t k = 0; k < outputs; k++) {
    const size_t o = window_in_order(k, outputs), i = o / s->out_width, j = o % s->out_width;
    const size_t out = o * lanes, in = 2 * i * row + 2 * j * lanes;
    const float *const x0 = x + in, *const x1 = x0 + lanes, *const x2 = x0 + row;
    float *const dx0 = dx + in, *const dx1 = dx0 + lanes, *const dx2 = dx0 + row, *const dx3 = dx2 + lanes;
    for (size_t l = 0; l < lanes; l++) {
      const float maximum = y[out + l], whole = d[out + l];
      const int is0 = is_maximum(x0[l], maximum), is1 = is_maximum(x1[l], maximum), is2 = is_maximum(x2[l], maximum);
      dx0[l] = is0 ? whole : 0;
      dx1[l] = (is1 & !is0) ? whole : 0;
      dx2[l] = (is2 & !is1 & !is0) ? whole : 0;
      dx3[l] = (is2 | is1 | is0) ? 0 : whole;
    }
  }
  if (covered < row)
    for (size_t i = 0; i < 2 * s->out_height; i++) memset(dx + i * row + covered, 0, (row - covered) * sizeof *dx);
  const size_t rows = 2 * s->out_height;
  memset(dx + rows * row, 0, (s->in_height - rows) * row * sizeof *dx);
}

ESP_TARGET ESP_INLINE void max_windows_backward(const float *restrict x, const float *restrict y,
                                                const float *restrict d, const esp_pool_shape *s, size_t lanes,
                                                float *restrict dx) {
  memset(dx, 0, s->in_height * s->in_width * lanes * sizeof *dx);
  for (size_t i = 0; i < s->out_height; i++)
    for (size_t j = 0; j < s->out_width; j++) {
      const esp_window w = esp_window_at(s, i, j);
      const float *const maximum = y + (i * s->out_width + j) * lanes;
      float left[32];  // what no element of the window has taken yet
      memcpy(left, d + (i * s->out_width + j) * lanes, lanes * sizeof *left);
      for (size_t row = w.top; row < w.bottom; row++)
        for (size_t column = w.left; column < w.right; column++) {
          const size_t at = (row * s->in_width + column) * lanes;
          for (size_t l = 0; l < lanes; l++) {
            const int taken = is_maximum(x[at + l], maximum[l]);
            const float before = left[l];
            dx[at + l] += taken ? before : 0;
            left[l] = taken ? 0 : before;
          }
        }
    }
}

ESP_TARGET ESP_INLINE void max_planes(const float *restrict x, const esp_pool_shape *s, size_t lanes, size_t first,
                                      size_t last, float *restrict y) {
  const size_t in = s->in_height * s->in_width * lanes, out = s->out_height * s->out_width * lanes;
  for (size_t p = first; p < last; p++) {
    if (esp_pools_pairs(s))
      max_pairs(x + p * in, s, lanes, y + p * out);
    else
      max_windows(x + p * in, s, lanes, y + p * out);
  }
}

ESP_TARGET ESP_INLINE void max_planes_backward(const float *restrict x, const float *restrict y,
                                               const float *restrict d, const esp_pool_shape *s, size_t lanes,
                                               size_t first, size_t last, float *restrict dx) {
  const size_t in = s->in_height * s->in_width * lanes, out = s->out_height * s->out_width * lanes;
  for (size_t p = first; p < last; p++) {
    if (esp_pools_pairs(s))
      max_pairs_backward(x + p * in, y + p * out, d + p * out, s, lanes, dx + p * in);
    else
      max_windows_backward(x + p * in, y + p * out, d + p * out, s, lanes, dx + p * in);
  }
}

ESP_TARGET static void max_forward(const float *restrict x, const esp_pool_shape *s, size_t lanes, size_t first,
                                   size_t last, float *restrict y) {
  switch (lanes) {
    case 1:
      max_planes(x, s, 1, first, last, y);
      break;
    case 8:
      max_planes(x, s, 8, first, last, y);
      break;
    case 16:
      max_planes(x, s, 16, first, last, y);
      break;
    default:
      max_planes(x, s, 32, first, last, y);
      break;
  }
}

ESP_TARGET static void max_backward(const float *restrict x, const float *restrict y, const float *restrict d,
                                    const esp_pool_shape *s, size_t lanes, size_t first, size_t last,
                                    float *restrict dx) {
  switch (lanes) {
    case 1:
      max_planes_backward(x, y, d, s, 1, first, last, dx);
      break;
    case 8:
      max_planes_backward(x, y, d, s, 8, first, last, dx);
      break;
    case 16:
      max_planes_backward(x, y, d, s, 16, first, last, dx);
      break;
    default:
      max_planes_backward(x, y, d, s, 32, first, last, dx);
      break;
  }
}
