#ifndef ESP_POOLING_H
#define ESP_POOLING_H

#include "esp_layers.h"
#include "variants.h"

/// Serial kernels on the planes first ..< last.
typedef struct esp_pooling {
  void (*max_forward)(const float *restrict x, const esp_pool_shape *shape, size_t lanes, size_t first, size_t last,
                      float *restrict y);
  void (*max_backward)(const float *restrict x, const float *restrict y, const float *restrict d,
                       const esp_pool_shape *shape, size_t lanes, size_t first, size_t last, float *restrict dx);
  void (*average_forward)(const float *restrict x, const esp_pool_shape *shape, size_t lanes, size_t first, size_t last,
                          float *restrict y);
  void (*average_backward)(const float *restrict d, const esp_pool_shape *shape, size_t lanes, size_t first,
                           size_t last, float *restrict dx);
  void (*adaptive_forward)(const float *restrict x, const esp_pool_shape *shape, size_t lanes, size_t first,
                           size_t last, float *restrict y);
  void (*adaptive_backward)(const float *restrict d, const esp_pool_shape *shape, size_t lanes, size_t first,
                            size_t last, float *restrict dx);
  void (*global_forward)(const float *restrict x, size_t positions, size_t lanes, size_t first, size_t last,
                         float *restrict y);
  void (*global_backward)(const float *restrict d, size_t positions, size_t lanes, size_t first, size_t last,
                          float *restrict dx);
} esp_pooling;

extern const esp_pooling esp_pooling_scalar, esp_pooling_avx2;

/// The part of a window that lies within the image: rows top ..< bottom, columns left ..< right.
typedef struct esp_window {
  size_t top, bottom, left, right;
} esp_window;

static inline esp_window esp_window_at(const esp_pool_shape *s, size_t i, size_t j) {
  const size_t top = i * s->stride, left = j * s->stride;  // in the padded image
  const size_t bottom = top + s->kernel - s->padding, right = left + s->kernel - s->padding;
  return (esp_window){top < s->padding ? 0 : top - s->padding, bottom < s->in_height ? bottom : s->in_height,
                      left < s->padding ? 0 : left - s->padding, right < s->in_width ? right : s->in_width};
}

/// The window of an adaptive pool: the smallest run of rows and of columns that covers output (i, j)'s share of the
/// image.
static inline esp_window esp_adaptive_window_at(const esp_pool_shape *s, size_t i, size_t j) {
  return (esp_window){i * s->in_height / s->out_height, ((i + 1) * s->in_height + s->out_height - 1) / s->out_height,
                      j * s->in_width / s->out_width, ((j + 1) * s->in_width + s->out_width - 1) / s->out_width};
}

/// 1 for the windows that most networks use: 2 x 2, side by side.
static inline int esp_pools_pairs(const esp_pool_shape *s) {
  return s->kernel == 2 && s->stride == 2 && s->padding == 0;
}

/// Whether every window starts in the padded image and touches the image itself.
static inline int esp_pool_shape_is_valid(const esp_pool_shape *s) {
  return s->kernel > 0 && s->stride > 0 && s->padding <= s->kernel / 2 &&
         (s->out_height == 0 || (s->out_height - 1) * s->stride < s->in_height + s->padding) &&
         (s->out_width == 0 || (s->out_width - 1) * s->stride < s->in_width + s->padding) &&
         (!esp_pools_pairs(s) || (2 * s->out_height <= s->in_height && 2 * s->out_width <= s->in_width));
}

#endif
