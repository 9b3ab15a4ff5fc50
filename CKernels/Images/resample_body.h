#include "resample.h"

enum { HALF = 1 << (ESP_WEIGHT_BITS - 1) };

/// Weights may round to a sum above one.
static inline uint8_t byte_of(int32_t sum) {
  const int32_t value = sum >> ESP_WEIGHT_BITS;
  return (uint8_t)(value > 255 ? 255 : value);
}

ESP_TARGET static void columns(const int32_t *taps, size_t stride, size_t width, const uint8_t *restrict rgb,
                               uint8_t *restrict out, size_t plane) {
  for (size_t x = 0; x < width; x++, taps += stride) {
    const int32_t count = taps[1];
    const uint8_t *const pixels = rgb + 3 * (size_t)taps[0];
    const int32_t *const weights = taps + 2;
    int32_t red = HALF, green = HALF, blue = HALF;
    for (int32_t k = 0; k < count; k++) {
      red += weights[k] * pixels[3 * k];
      green += weights[k] * pixels[3 * k + 1];
      blue += weights[k] * pixels[3 * k + 2];
    }
    out[x] = byte_of(red);
    out[x + plane] = byte_of(green);
    out[x + 2 * plane] = byte_of(blue);
  }
}

ESP_TARGET static void rows(const esp_taps *taps, const uint8_t *restrict plane, size_t pitch, size_t width,
                            int32_t *restrict sums, uint8_t *restrict out) {
  for (size_t x = 0; x < width; x++) sums[x] = HALF;
  for (int32_t k = 0; k < taps->count; k++) {
    const uint8_t *const row = plane + (size_t)(taps->first + k) * pitch;
    const int32_t weight = taps->weights[k];
    for (size_t x = 0; x < width; x++) sums[x] += weight * row[x];
  }
  for (size_t x = 0; x < width; x++) out[x] = byte_of(sums[x]);
}

const esp_resampler ESP_VARIANT = {columns, rows};
