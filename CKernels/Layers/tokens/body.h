#include <string.h>

#include "tokens/tokens.h"

/// Offset in the images of the pixel that feature `plane % features` of block `plane / features` takes from the first
/// patch.
ESP_TARGET ESP_INLINE size_t first_pixel(const esp_patch_shape *s, size_t plane) {
  const size_t features = s->patch * s->patch * s->channels;
  const size_t block = plane / features, feature = plane % features;
  const size_t channel = feature % s->channels, pixel = feature / s->channels;
  const size_t row = pixel / s->patch, column = pixel % s->patch;
  return (((block * s->channels + channel) * s->height + row) * s->width + column) * s->lanes;
}

ESP_TARGET static void patches_forward(const float *restrict x, const esp_patch_shape *s, size_t first, size_t last,
                                       float *restrict y) {
  const size_t rows = s->height / s->patch, columns = s->width / s->patch, lanes = s->lanes;
  for (size_t plane = first; plane < last; plane++) {
    const float *const from = x + first_pixel(s, plane);
    float *to = y + plane * rows * columns * lanes;
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < columns; j++, to += lanes)
        memcpy(to, from + (i * s->width + j) * s->patch * lanes, lanes * sizeof(float));
  }
}

ESP_TARGET static void patches_backward(const float *restrict d, const esp_patch_shape *s, size_t first, size_t last,
                                        float *restrict dx) {
  const size_t rows = s->height / s->patch, columns = s->width / s->patch, lanes = s->lanes;
  for (size_t plane = first; plane < last; plane++) {
    const float *from = d + plane * rows * columns * lanes;
    float *const to = dx + first_pixel(s, plane);
    for (size_t i = 0; i < rows; i++)
      for (size_t j = 0; j < columns; j++, from += lanes)
        memcpy(to + (i * s->width + j) * s->patch * lanes, from, lanes * sizeof(float));
  }
}

ESP_TARGET static void add_positions(const float *restrict embedding, size_t features, size_t tokens, size_t lanes,
                                     size_t first, size_t last, float *restrict y) {
  for (size_t plane = first; plane < last; plane++) {
    const float *const row = embedding + plane % features * tokens;
    float *const out = y + plane * tokens * lanes;
    for (size_t t = 0; t < tokens; t++)
      for (size_t l = 0; l < lanes; l++) out[t * lanes + l] += row[t];
  }
}

const esp_tokens ESP_VARIANT = {patches_forward, patches_backward, add_positions};
