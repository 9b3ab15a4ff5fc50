#include <assert.h>

#include "tokens/tokens.h"

ESP_DEFINE_KERNELS_OF(esp_tokens)

static size_t planes_of(const esp_patch_shape *s) {
  assert(s->patch > 0 && s->height % s->patch == 0 && s->width % s->patch == 0);
  return s->blocks * s->patch * s->patch * s->channels;
}

void esp_patches_forward(esp_isa isa, const float *restrict x, const esp_patch_shape *shape, float *restrict y,
                         int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const size_t planes = planes_of(shape);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->patches_forward(x, shape, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), y);
}

void esp_patches_backward(esp_isa isa, const float *restrict d, const esp_patch_shape *shape, float *restrict dx,
                          int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const size_t planes = planes_of(shape);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->patches_backward(d, shape, esp_part(planes, t, threads), esp_part(planes, t + 1, threads), dx);
}

void esp_add_positions(esp_isa isa, const float *restrict embedding, size_t blocks, size_t features, size_t tokens,
                       size_t lanes, float *restrict y, int threads) {
  const esp_tokens *const kernels = kernels_of(isa);
  const size_t planes = blocks * features;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    kernels->add_positions(embedding, features, tokens, lanes, esp_part(planes, t, threads),
                           esp_part(planes, t + 1, threads), y);
}
