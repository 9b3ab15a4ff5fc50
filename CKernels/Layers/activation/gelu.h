#ifndef ESP_GELU_H
#define ESP_GELU_H

#include "esp_transformer.h"
#include "variants.h"

/// Serial kernels on the elements first ..< last.
typedef struct esp_gelu {
  void (*forward)(const float *restrict x, size_t first, size_t last, float *restrict y);
  void (*backward)(const float *restrict x, const float *restrict d, size_t first, size_t last, float *restrict dx);
} esp_gelu;

const esp_gelu *esp_gelu_of(esp_isa isa);

extern const esp_gelu esp_gelu_scalar, esp_gelu_avx2, esp_gelu_avx512;

#endif
