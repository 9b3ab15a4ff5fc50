#include <assert.h>

#include "tokens/tokens.h"

ESP_DEFINE_KERNELS_OF(esp_tokens)

static size_t tokens_of(const esp_patch_shape *s) {
  assert(s->patch > 0 && s->height % s->patch == 0 && s->width % s->patch == 0);
  return s->blocks * (s->height / s->patch) * (s->width / s->patch);
}

void esp_patches_forward(esp_isa isa, const float *restrict x, const esp_patch_shape *shape, float *restrict y,
                         int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const size_t tokens = tokens_of(shape);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->patches_forward(x, shape, esp_part(tokens, t, threads), esp_part(tokens, t + 1, threads), y);
}

void esp_patches_backward(esp_isa isa, const float *restrict d, const esp_patch_shape *shape, float *restrict dx,
                          int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const size_t tokens = tokens_of(shape);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->patches_backward(d, shape, esp_part(tokens, t, threads), esp_part(tokens, t + 1, threads), dx);
}

void esp_add_positions(esp_isa isa, const float *restrict x, const float *restrict embedding, size_t blocks,
                       size_t tokens, size_t features, size_t lanes, float *restrict y, int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const esp_token_rows shape = {tokens, features, lanes};
  const size_t all = blocks * tokens;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->add_positions(x, embedding, &shape, esp_part(all, t, threads), esp_part(all, t + 1, threads), y);
}

void esp_mean_of_tokens_forward(esp_isa isa, const float *restrict x, size_t blocks, size_t tokens, size_t features,
                                size_t lanes, float *restrict y, int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const esp_token_rows shape = {tokens, features, lanes};
  const size_t strips = blocks * esp_strips(&shape);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->mean_forward(x, &shape, esp_part(strips, t, threads), esp_part(strips, t + 1, threads), y);
}

void esp_mean_of_tokens_backward(esp_isa isa, const float *restrict d, size_t blocks, size_t tokens, size_t features,
                                 size_t lanes, float *restrict dx, int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const esp_token_rows shape = {tokens, features, lanes};
  const size_t all = blocks * tokens;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->mean_backward(d, &shape, esp_part(all, t, threads), esp_part(all, t + 1, threads), dx);
}
