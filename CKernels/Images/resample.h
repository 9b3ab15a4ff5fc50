#ifndef ESP_RESAMPLE_H
#define ESP_RESAMPLE_H

#include "esp_images.h"

/// The pixels that one output pixel is made of, along one direction: `count` from `first` on; their weights, in units
/// of 2^-ESP_WEIGHT_BITS, follow it.
typedef struct esp_taps {
  int32_t first, count;
  int32_t weights[];
} esp_taps;

enum { ESP_WEIGHT_BITS = 22 };

typedef struct esp_resampler {
  /// out [3, window_width] := one row of rgb [.., 3]; taps lie `stride` numbers apart.
  void (*columns)(const int32_t *taps, size_t stride, size_t width, const uint8_t *restrict rgb, uint8_t *restrict out,
                  size_t plane);
  /// out [width] := rows of one plane, `pitch` apart.
  void (*rows)(const esp_taps *taps, const uint8_t *restrict plane, size_t pitch, size_t width, int32_t *restrict sums,
               uint8_t *restrict out);
} esp_resampler;

extern const esp_resampler esp_resampler_scalar, esp_resampler_avx2;

#endif
