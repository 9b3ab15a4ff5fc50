#include <assert.h>
#include <string.h>

#include "esp_layers.h"

// Nothing but copies: one variant is enough.

/// One channel of a block: rows and columns 0, stride, 2 * stride, ...
static void gather_plane(const float *restrict x, const esp_shortcut_shape *s, size_t lanes, float *restrict y) {
  for (size_t i = 0; i < s->in_height; i += s->stride)
    for (size_t j = 0; j < s->in_width; j += s->stride, y += lanes)
      memcpy(y, x + (i * s->in_width + j) * lanes, lanes * sizeof *y);
}

static void scatter_plane(const float *restrict d, const esp_shortcut_shape *s, size_t lanes, float *restrict dx) {
  memset(dx, 0, s->in_height * s->in_width * lanes * sizeof *dx);
  for (size_t i = 0; i < s->in_height; i += s->stride)
    for (size_t j = 0; j < s->in_width; j += s->stride, d += lanes)
      memcpy(dx + (i * s->in_width + j) * lanes, d, lanes * sizeof *dx);
}

/// Floats of a channel in a block, of the output.
static size_t out_plane_of(const esp_shortcut_shape *s, size_t lanes) {
  return ((s->in_height + s->stride - 1) / s->stride) * ((s->in_width + s->stride - 1) / s->stride) * lanes;
}

void esp_shortcut_forward(const float *restrict x, const esp_shortcut_shape *shape, size_t blocks, size_t lanes,
                          float *restrict y, int threads) {
  assert(shape->stride > 0);
  const size_t in_plane = shape->in_height * shape->in_width * lanes, out_plane = out_plane_of(shape, lanes);
  const size_t out_channels = shape->front + shape->in_channels + shape->back, planes = blocks * out_channels;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t p = 0; p < planes; p++) {
    const size_t c = p % out_channels, b = p / out_channels;
    if (c < shape->front || c >= shape->front + shape->in_channels)
      memset(y + p * out_plane, 0, out_plane * sizeof *y);
    else
      gather_plane(x + (b * shape->in_channels + c - shape->front) * in_plane, shape, lanes, y + p * out_plane);
  }
}

void esp_shortcut_backward(const float *restrict d, const esp_shortcut_shape *shape, size_t blocks, size_t lanes,
                           float *restrict dx, int threads) {
  assert(shape->stride > 0);
  const size_t in_plane = shape->in_height * shape->in_width * lanes, out_plane = out_plane_of(shape, lanes);
  const size_t out_channels = shape->front + shape->in_channels + shape->back, planes = blocks * shape->in_channels;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t p = 0; p < planes; p++) {
    const size_t c = p % shape->in_channels, b = p / shape->in_channels;
    scatter_plane(d + (b * out_channels + shape->front + c) * out_plane, shape, lanes, dx + p * in_plane);
  }
}
