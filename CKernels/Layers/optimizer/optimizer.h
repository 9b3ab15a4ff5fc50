#ifndef ESP_OPTIMIZER_H
#define ESP_OPTIMIZER_H

#include "esp_layers.h"
#include "variants.h"

/// The square root, in vectors where the compiler can: sqrtf may set errno, which keeps a loop from becoming vectors.
#ifdef __clang__
#define ESP_SQRT(x) __builtin_elementwise_sqrt(x)
#else
#include <math.h>
#define ESP_SQRT(x) sqrtf(x)
#endif

/// Serial kernels on the elements first ..< last.
typedef struct esp_optimizer {
  void (*sgd)(float *restrict w, const float *restrict g, float *restrict v, size_t first, size_t last,
              float learning_rate, float momentum, float weight_decay);
  void (*adamw)(const esp_adamw *rule, const float *restrict g, size_t first, size_t last, float *restrict w,
                float *restrict m, float *restrict v);
  double (*square_sum)(const float *x, size_t first, size_t last);
  void (*scale)(float factor, size_t first, size_t last, float *x);
  int (*all_finite)(const float *x, size_t first, size_t last);
} esp_optimizer;

extern const esp_optimizer esp_optimizer_scalar, esp_optimizer_avx2;

#endif
