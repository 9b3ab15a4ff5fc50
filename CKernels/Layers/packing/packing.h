#ifndef ESP_PACKING_H
#define ESP_PACKING_H

#include "esp_layers.h"
#include "variants.h"

typedef struct esp_packing_case {
  const void *images;  // bytes or floats
  const uint32_t *indices;
  const esp_placement *placements;  // or NULL
  size_t source_channels, source_height, source_width;
  size_t channels, height, width;
  const float *mean, *deviation;
  size_t samples, lanes;
} esp_packing_case;

typedef struct esp_packing {
  /// Fills rows first ..< last of y's blocks * channels * height.
  void (*pack)(const esp_packing_case *images, size_t first, size_t last, float *restrict y);
  /// The same of floats, which are not normalised.
  void (*copy)(const esp_packing_case *images, size_t first, size_t last, float *restrict y);
} esp_packing;

extern const esp_packing esp_packing_scalar, esp_packing_avx2;

#endif
