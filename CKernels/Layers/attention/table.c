#include <assert.h>
#include <stdint.h>

#include "attention/head.h"

/// A vector takes lanes of one token: too few of them want narrower vectors, a single one none.
static const esp_attention *kernels_of(esp_isa isa, size_t lanes) {
  static const esp_attention *const wide[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_attention_scalar, &esp_attention_avx2, &esp_attention_avx512, &esp_attention_neon);
  static const esp_attention *const narrow[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_attention_scalar, &esp_attention_avx2, &esp_attention_avx2, &esp_attention_neon);
  assert(lanes == 1 || (lanes % 8 == 0 && lanes <= 32));
  if (lanes == 1) return &esp_attention_scalar;
  return lanes < 16 ? narrow[isa] : wide[isa];
}

/// Floats in a thread's own workspace.
static size_t forward_floats(const esp_attention_shape *s) {
  return 3 * esp_attention_array(s, s->size) + esp_attention_array(s, 2) + esp_attention_scores(s);
}

static size_t backward_floats(const esp_attention_shape *s) {
  return 4 * esp_attention_array(s, s->size) + esp_attention_array(s, 2) + 4 * esp_attention_scores(s) +
         2 * s->size * esp_attention_row(s);
}

enum { LINE = 64 };  // bytes in a cache line, where a thread's workspace starts

static float *aligned(float *workspace) {
  return (float *)(((uintptr_t)workspace + LINE - 1) / LINE * LINE);
}

size_t esp_attention_forward_workspace(const esp_attention_shape *s, int threads) {
  return (size_t)threads * forward_floats(s) + LINE / sizeof(float);
}

size_t esp_attention_backward_workspace(const esp_attention_shape *s, int threads) {
  return (size_t)threads * backward_floats(s) + LINE / sizeof(float);
}

void esp_attention_forward(esp_isa isa, const float *restrict qkv, const esp_attention_shape *shape, float *restrict y,
                           float *restrict statistics, float *restrict workspace, int threads) {
  const esp_attention *const kernels = kernels_of(isa, shape->lanes);
  const size_t items = shape->blocks * shape->heads, own = forward_floats(shape);
  float *const own_workspaces = aligned(workspace);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->forward(qkv, shape, esp_part(items, t, threads), esp_part(items, t + 1, threads), y, statistics,
                     own_workspaces + (size_t)t * own);
}

void esp_attention_backward(esp_isa isa, const float *restrict qkv, const float *restrict d, const float *statistics,
                            const esp_attention_shape *shape, float *restrict dqkv, float *restrict workspace,
                            int threads) {
  const esp_attention *const kernels = kernels_of(isa, shape->lanes);
  const size_t items = shape->blocks * shape->heads, own = backward_floats(shape);
  float *const own_workspaces = aligned(workspace);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->backward(qkv, d, statistics, shape, esp_part(items, t, threads), esp_part(items, t + 1, threads), dqkv,
                      own_workspaces + (size_t)t * own);
}
