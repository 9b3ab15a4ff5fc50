#include <assert.h>

#include "attention/attention.h"

static const esp_attention *kernels_of(esp_isa isa) {
  static const esp_attention *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_attention_scalar, &esp_attention_scalar, &esp_attention_scalar, &esp_attention_scalar);
  return table[isa];
}

size_t esp_attention_forward_workspace(const esp_attention_shape *s, int threads) {
  return (size_t)threads * s->tokens * s->lanes;
}

size_t esp_attention_backward_workspace(const esp_attention_shape *s, int threads) {
  return (size_t)threads * 2 * s->tokens * s->lanes;
}

void esp_attention_forward(esp_isa isa, const float *restrict qkv, const esp_attention_shape *shape, float *restrict y,
                           float *restrict statistics, float *restrict workspace, int threads) {
  const esp_attention *const kernels = kernels_of(isa);
  const size_t items = shape->blocks * shape->heads, own = esp_attention_forward_workspace(shape, 1);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->forward(qkv, shape, esp_part(items, t, threads), esp_part(items, t + 1, threads), y, statistics,
                     workspace + (size_t)t * own);
}

void esp_attention_backward(esp_isa isa, const float *restrict qkv, const float *restrict d, const float *statistics,
                            const esp_attention_shape *shape, float *restrict dqkv, float *restrict workspace,
                            int threads) {
  const esp_attention *const kernels = kernels_of(isa);
  const size_t items = shape->blocks * shape->heads, own = esp_attention_backward_workspace(shape, 1);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->backward(qkv, d, statistics, shape, esp_part(items, t, threads), esp_part(items, t + 1, threads), dqkv,
                      workspace + (size_t)t * own);
}
