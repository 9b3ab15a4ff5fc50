#include <string.h>

#include "tokens/tokens.h"

/// Offset in the images of token `token`'s first pixel in channel 0, of blocks * tokens.
ESP_TARGET ESP_INLINE size_t first_pixel(const esp_patch_shape *s, size_t token) {
  const size_t rows = s->height / s->patch, columns = s->width / s->patch;
  const size_t block = token / (rows * columns), row = token / columns % rows, column = token % columns;
  return ((block * s->channels * s->height + row * s->patch) * s->width + column * s->patch) * s->lanes;
}

/// Offset of pixel `pixel` of channel `channel` from the patch's first pixel.
ESP_TARGET ESP_INLINE size_t pixel_offset(const esp_patch_shape *s, size_t pixel, size_t channel) {
  return ((channel * s->height + pixel / s->patch) * s->width + pixel % s->patch) * s->lanes;
}

ESP_TARGET static void patches_forward(const float *restrict x, const esp_patch_shape *s, size_t first, size_t last,
                                       float *restrict y) {
  const size_t pixels = s->patch * s->patch;
  float *to = y + first * pixels * s->channels * s->lanes;
  for (size_t token = first; token < last; token++) {
    const float *const from = x + first_pixel(s, token);
    for (size_t pixel = 0; pixel < pixels; pixel++)
      for (size_t c = 0; c < s->channels; c++, to += s->lanes)
        memcpy(to, from + pixel_offset(s, pixel, c), s->lanes * sizeof(float));
  }
}

ESP_TARGET static void patches_backward(const float *restrict d, const esp_patch_shape *s, size_t first, size_t last,
                                        float *restrict dx) {
  const size_t pixels = s->patch * s->patch;
  const float *from = d + first * pixels * s->channels * s->lanes;
  for (size_t token = first; token < last; token++) {
    float *const to = dx + first_pixel(s, token);
    for (size_t pixel = 0; pixel < pixels; pixel++)
      for (size_t c = 0; c < s->channels; c++, from += s->lanes)
        memcpy(to + pixel_offset(s, pixel, c), from, s->lanes * sizeof(float));
  }
}

ESP_TARGET static void add_positions(const float *restrict x, const float *restrict embedding, const esp_token_rows *s,
                                     size_t first, size_t last, float *restrict y) {
  for (size_t token = first; token < last; token++) {
    const float *const row = embedding + token % s->tokens * s->features;
    const size_t origin = token * s->features * s->lanes;
    for (size_t f = 0; f < s->features; f++)
      for (size_t l = 0; l < s->lanes; l++) {
        const size_t i = origin + f * s->lanes + l;
        y[i] = x[i] + row[f];
      }
  }
}

ESP_TARGET static void mean_forward(const float *restrict x, const esp_token_rows *s, size_t first, size_t last,
                                    float *restrict y) {
  const size_t row = s->features * s->lanes, strips = esp_strips(s);
  for (size_t strip = first; strip < last; strip++) {
    const size_t block = strip / strips, start = strip % strips * STRIP;
    const size_t width = row - start < STRIP ? row - start : STRIP;
    float sums[STRIP] = {0};
    const float *from = x + block * s->tokens * row + start;
    for (size_t t = 0; t < s->tokens; t++, from += row)
      for (size_t i = 0; i < width; i++) sums[i] += from[i];
    for (size_t i = 0; i < width; i++) y[block * row + start + i] = sums[i] / (float)s->tokens;
  }
}

ESP_TARGET static void mean_backward(const float *restrict d, const esp_token_rows *s, size_t first, size_t last,
                                     float *restrict dx) {
  const size_t row = s->features * s->lanes;
  for (size_t token = first; token < last; token++) {
    const float *const from = d + token / s->tokens * row;
    for (size_t i = 0; i < row; i++) dx[token * row + i] = from[i] / (float)s->tokens;
  }
}

const esp_tokens ESP_VARIANT = {patches_forward, patches_backward, add_positions, mean_forward, mean_backward};
