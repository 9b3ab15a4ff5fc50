#ifndef ESP_LOSS_H
#define ESP_LOSS_H

#include "esp_layers.h"
#include "variants.h"

/// One block's logits and what they should be.
typedef struct esp_loss_block {
  const float *logits;     // [classes, lanes]
  const uint32_t *labels;  // [real]
  size_t classes, lanes, real;
  float label_smoothing, gradient_scale;
} esp_loss_block;

typedef struct esp_loss {
  /// Losses [real] and the gradient d [classes, lanes] (or NULL) of one block; returns how many samples are correct.
  size_t (*softmax_cross_entropy)(const esp_loss_block *block, double *losses, float *d);
  /// How many of one block's labels are among the k largest logits.
  size_t (*top_k_correct)(const esp_loss_block *block, size_t k);
} esp_loss;

extern const esp_loss esp_loss_scalar, esp_loss_avx2;

#endif
