// Average pooling. Included by body.h; `lanes` is a constant wherever a loop over it should vectorise.

#include <string.h>

#include "pooling/pooling.h"

/// The window of output (i, j), and by what its sum is divided.
ESP_TARGET ESP_INLINE esp_window average_window(const esp_pool_shape *s, int is_adaptive, size_t o, float *area) {
  const size_t i = o / s->out_width, j = o % s->out_width;
  const esp_window w = is_adaptive ? esp_adaptive_window_at(s, i, j) : esp_window_at(s, i, j);
  *area = (float)(is_adaptive ? (w.bottom - w.top) * (w.right - w.left) : s->kernel * s->kernel);
  return w;
}

ESP_TARGET ESP_INLINE void average_planes(const float *restrict x, const esp_pool_shape *s, size_t lanes,
                                          int is_adaptive, size_t first, size_t last, float *restrict y) {
  const size_t in_plane = s->in_height * s->in_width, outputs = s->out_height * s->out_width;
  for (size_t p = first; p < last; p++)
    for (size_t o = 0; o < outputs; o++) {
      float area;
      const esp_window w = average_window(s, is_adaptive, o, &area);
      float sum[32] = {0};
      for (size_t row = w.top; row < w.bottom; row++)
        for (size_t column = w.left; column < w.right; column++) {
          const float *const in = x + (p * in_plane + row * s->in_width + column) * lanes;
          for (size_t l = 0; l < lanes; l++) sum[l] += in[l];
        }
      for (size_t l = 0; l < lanes; l++) y[(p * outputs + o) * lanes + l] = sum[l] / area;
    }
}

ESP_TARGET ESP_INLINE void average_planes_backward(const float *restrict d, const esp_pool_shape *s, size_t lanes,
                                                   int is_adaptive, size_t first, size_t last, float *restrict dx) {
  const size_t in_plane = s->in_height * s->in_width, outputs = s->out_height * s->out_width;
  for (size_t p = first; p < last; p++) {
    memset(dx + p * in_plane * lanes, 0, in_plane * lanes * sizeof *dx);
    for (size_t o = 0; o < outputs; o++) {
      float area;
      const esp_window w = average_window(s, is_adaptive, o, &area);
      float share[32];
      for (size_t l = 0; l < lanes; l++) share[l] = d[(p * outputs + o) * lanes + l] / area;
      for (size_t row = w.top; row < w.bottom; row++)
        for (size_t column = w.left; column < w.right; column++) {
          float *const out = dx + (p * in_plane + row * s->in_width + column) * lanes;
          for (size_t l = 0; l < lanes; l++) out[l] += share[l];
        }
    }
  }
}

ESP_TARGET static void average_forward(const float *restrict x, const esp_pool_shape *s, size_t lanes, size_t first,
                                       size_t last, float *restrict y) {
  switch (lanes) {
    case 1:
      average_planes(x, s, 1, 0, first, last, y);
      break;
    case 8:
      average_planes(x, s, 8, 0, first, last, y);
      break;
    case 16:
      average_planes(x, s, 16, 0, first, last, y);
      break;
    default:
      average_planes(x, s, 32, 0, first, last, y);
      break;
  }
}

ESP_TARGET static void average_backward(const float *restrict d, const esp_pool_shape *s, size_t lanes, size_t first,
                                        size_t last, float *restrict dx) {
  switch (lanes) {
    case 1:
      average_planes_backward(d, s, 1, 0, first, last, dx);
      break;
    case 8:
      average_planes_backward(d, s, 8, 0, first, last, dx);
      break;
    case 16:
      average_planes_backward(d, s, 16, 0, first, last, dx);
      break;
    default:
      average_planes_backward(d, s, 32, 0, first, last, dx);
      break;
  }
}

ESP_TARGET static void adaptive_forward(const float *restrict x, const esp_pool_shape *s, size_t lanes, size_t first,
                                        size_t last, float *restrict y) {
  switch (lanes) {
    case 1:
      average_planes(x, s, 1, 1, first, last, y);
      break;
    case 8:
      average_planes(x, s, 8, 1, first, last, y);
      break;
    case 16:
      average_planes(x, s, 16, 1, first, last, y);
      break;
    default:
      average_planes(x, s, 32, 1, first, last, y);
      break;
  }
}

ESP_TARGET static void adaptive_backward(const float *restrict d, const esp_pool_shape *s, size_t lanes, size_t first,
                                         size_t last, float *restrict dx) {
  switch (lanes) {
    case 1:
      average_planes_backward(d, s, 1, 1, first, last, dx);
      break;
    case 8:
      average_planes_backward(d, s, 8, 1, first, last, dx);
      break;
    case 16:
      average_planes_backward(d, s, 16, 1, first, last, dx);
      break;
    default:
      average_planes_backward(d, s, 32, 1, first, last, dx);
      break;
  }
}

ESP_TARGET ESP_INLINE void mean_planes(const float *restrict x, size_t positions, size_t lanes, size_t first,
                                       size_t last, float *restrict y) {
  const float count = (float)positions;
  for (size_t p = first; p < last; p++) {
    float sum[32] = {0};
    for (size_t i = 0; i < positions; i++)
      for (size_t l = 0; l < lanes; l++) sum[l] += x[(p * positions + i) * lanes + l];
    for (size_t l = 0; l < lanes; l++) y[p * lanes + l] = sum[l] / count;
  }
}

ESP_TARGET ESP_INLINE void spread_planes(const float *restrict d, size_t positions, size_t lanes, size_t first,
                                         size_t last, float *restrict dx) {
  const float count = (float)positions;
  for (size_t p = first; p < last; p++) {
    float share[32];
    for (size_t l = 0; l < lanes; l++) share[l] = d[p * lanes + l] / count;
    for (size_t i = 0; i < positions; i++)
      for (size_t l = 0; l < lanes; l++) dx[(p * positions + i) * lanes + l] = share[l];
  }
}

ESP_TARGET static void global_forward(const float *restrict x, size_t positions, size_t lanes, size_t first,
                                      size_t last, float *restrict y) {
  switch (lanes) {
    case 1:
      mean_planes(x, positions, 1, first, last, y);
      break;
    case 8:
      mean_planes(x, positions, 8, first, last, y);
      break;
    case 16:
      mean_planes(x, positions, 16, first, last, y);
      break;
    default:
      mean_planes(x, positions, 32, first, last, y);
      break;
  }
}

ESP_TARGET static void global_backward(const float *restrict d, size_t positions, size_t lanes, size_t first,
                                       size_t last, float *restrict dx) {
  switch (lanes) {
    case 1:
      spread_planes(d, positions, 1, first, last, dx);
      break;
    case 8:
      spread_planes(d, positions, 8, first, last, dx);
      break;
    case 16:
      spread_planes(d, positions, 16, first, last, dx);
      break;
    default:
      spread_planes(d, positions, 32, first, last, dx);
      break;
  }
}
