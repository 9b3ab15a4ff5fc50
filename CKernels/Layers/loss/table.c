#include <assert.h>

#include "loss/loss.h"

ESP_DEFINE_KERNELS_OF(esp_loss)

double esp_softmax_cross_entropy(esp_isa isa, const float *logits, const uint32_t *labels, float label_smoothing,
                                 float gradient_scale, size_t classes, size_t samples, size_t lanes, float *d,
                                 size_t *correct) {
  assert(classes > 0 && lanes <= 32);
  const esp_loss *const kernels = kernels_of(isa);
  const size_t plane = classes * lanes;
  double total = 0;
  *correct = 0;
  for (size_t b = 0; b < esp_block_count(samples, lanes); b++) {
    const size_t real = esp_real_lanes(samples, lanes, b);
    const esp_loss_block block = {logits + b * plane, labels + b * lanes, classes, lanes, real,
                                  label_smoothing,    gradient_scale};
    double losses[32];
    *correct += kernels->softmax_cross_entropy(&block, losses, d ? d + b * plane : NULL);
    for (size_t l = 0; l < real; l++) total += losses[l];
  }
  return total;
}

size_t esp_top_k_correct(esp_isa isa, const float *logits, const uint32_t *labels, size_t k, size_t classes,
                         size_t samples, size_t lanes) {
  assert(classes > 0 && lanes <= 32);
  const esp_loss *const kernels = kernels_of(isa);
  size_t correct = 0;
  for (size_t b = 0; b < esp_block_count(samples, lanes); b++) {
    const esp_loss_block block = {.logits = logits + b * classes * lanes,
                                  .labels = labels + b * lanes,
                                  .classes = classes,
                                  .lanes = lanes,
                                  .real = esp_real_lanes(samples, lanes, b)};
    correct += kernels->top_k_correct(&block, k);
  }
  return correct;
}
