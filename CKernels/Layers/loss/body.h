#include <math.h>

#include "loss/loss.h"

/// A row of samples' softmax: exp(z - maximum) / sum.
typedef struct softmax_rows {
  float maximum[32];
  uint32_t best[32];  // class of the maximum, the first of ties
  double sum[32];
  double centred_sum[32];  // of z - maximum
} softmax_rows;

/// Fills `s`; leaves exp(z - maximum) in d, unless it is NULL.
ESP_TARGET static void reduce_classes(const esp_loss_block *b, softmax_rows *s, float *d) {
  for (size_t l = 0; l < b->real; l++) {
    s->maximum[l] = b->logits[l];
    s->best[l] = 0;
    s->sum[l] = s->centred_sum[l] = 0;
  }
  for (size_t k = 1; k < b->classes; k++)
    for (size_t l = 0; l < b->real; l++) {
      const float z = b->logits[k * b->lanes + l];
      if (z > s->maximum[l]) {
        s->maximum[l] = z;
        s->best[l] = (uint32_t)k;
      }
    }
  for (size_t k = 0; k < b->classes; k++)
    for (size_t l = 0; l < b->real; l++) {
      const float centred = b->logits[k * b->lanes + l] - s->maximum[l];
      const float power = expf(centred);
      s->sum[l] += (double)power;
      s->centred_sum[l] += (double)centred;
      if (d) d[k * b->lanes + l] = power;
    }
}

/// d holds exp(z - maximum), and receives (softmax - target) * gradient_scale.
ESP_TARGET static void finish_gradient(const esp_loss_block *b, const softmax_rows *s, float *d) {
  const double smoothing = (double)b->label_smoothing, elsewhere = smoothing / (double)b->classes;
  for (size_t k = 0; k < b->classes; k++) {
    for (size_t l = 0; l < b->real; l++) {
      const double target = b->labels[l] == k ? 1 - smoothing + elsewhere : elsewhere;
      float *const out = &d[k * b->lanes + l];
      *out = (float)(((double)*out / s->sum[l] - target) * (double)b->gradient_scale);
    }
    for (size_t l = b->real; l < b->lanes; l++) d[k * b->lanes + l] = 0;
  }
}

ESP_TARGET static size_t softmax_cross_entropy(const esp_loss_block *b, double *losses, float *d) {
  softmax_rows s;
  reduce_classes(b, &s, d);
  const double smoothing = (double)b->label_smoothing;
  size_t correct = 0;
  for (size_t l = 0; l < b->real; l++) {
    const double label = (double)(b->logits[b->labels[l] * b->lanes + l] - s.maximum[l]);
    losses[l] = log(s.sum[l]) - (1 - smoothing) * label;
    // Without smoothing the other classes do not count, not even an infinity among them.
    if (smoothing > 0) losses[l] -= smoothing / (double)b->classes * s.centred_sum[l];
    correct += s.best[l] == b->labels[l];
  }
  if (d) finish_gradient(b, &s, d);
  return correct;
}

/// A label is among the k largest where fewer than k logits come before its own.
ESP_TARGET static size_t top_k_correct(const esp_loss_block *b, size_t k) {
  float own[32];
  uint32_t before[32] = {0};
  for (size_t l = 0; l < b->real; l++) own[l] = b->logits[b->labels[l] * b->lanes + l];
  for (size_t c = 0; c < b->classes; c++)
    for (size_t l = 0; l < b->real; l++) {
      const float z = b->logits[c * b->lanes + l];
      before[l] += c < b->labels[l] ? !(z < own[l]) : !(z <= own[l]);
    }
  size_t correct = 0;
  for (size_t l = 0; l < b->real; l++) correct += before[l] < k;
  return correct;
}

const esp_loss ESP_VARIANT = {softmax_cross_entropy, top_k_correct};
