#include <assert.h>
#include <math.h>

#include "activity.h"
#include "random/philox.h"

enum { PARTS = 8 };  // partial sums, so that a vector of them is added at a time

enum { SAMPLES = 32 };  // of a block, in the numbering of signs

void esp_activity_signs(esp_random_key key, size_t first_sample, const esp_activity_shape *shape, float *restrict signs,
                        int threads) {
  const size_t lanes = shape->lanes, positions = shape->positions, tokens = shape->tokens;
  const size_t blocks = sample_blocks(shape->samples, lanes) * tokens;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t block = 0; block < blocks; block++) {
    const size_t used = lanes_used(shape->samples, lanes, block / tokens), token = block % tokens;
    const uint64_t start = first_sample + block / tokens * lanes;
    uint64_t bits = 0, word = UINT64_MAX;
    for (size_t i = 0; i < positions * lanes; i++) {
      const uint64_t sample = start + i % lanes;
      const uint64_t row = ((sample / SAMPLES * tokens + token) * positions + i / lanes) * SAMPLES + sample % SAMPLES;
      if (row / 64 != word) {
        word = row / 64;
        bits = random_bits(key, word);
      }
      signs[block * positions * lanes + i] = i % lanes >= used ? 0 : bits >> row % 64 & 1 ? -1 : 1;
    }
  }
}

/// parts[i % PARTS] += |x[i]|, or sign[i] * x[i], for i < n.
static void add_run(const float *x, const float *signs, size_t n, double parts[PARTS]) {
  size_t i = 0;
  if (signs) {
    for (; i + PARTS <= n; i += PARTS)
      for (size_t j = 0; j < PARTS; j++) parts[j] += (double)(signs[i + j] * x[i + j]);
    for (size_t j = 0; i < n; i++, j++) parts[j] += (double)(signs[i] * x[i]);
  } else {
    for (; i + PARTS <= n; i += PARTS)
      for (size_t j = 0; j < PARTS; j++) parts[j] += (double)fabsf(x[i + j]);
    for (size_t j = 0; i < n; i++, j++) parts[j] += (double)fabsf(x[i]);
  }
}

static double channel_sum(const esp_activity_shape *shape, const float *x, const float *signs, size_t channel) {
  const size_t lanes = shape->lanes, rows = shape->positions * lanes;
  const size_t blocks = sample_blocks(shape->samples, lanes) * shape->tokens;
  double parts[PARTS] = {0};
  for (size_t block = 0; block < blocks; block++) {
    const size_t used = lanes_used(shape->samples, lanes, block / shape->tokens);
    const float *run = x + (block * shape->channels + channel) * rows;
    const float *sign = signs ? signs + block * rows : NULL;
    if (used == lanes) {
      add_run(run, sign, rows, parts);
      continue;
    }
    for (size_t i = 0; i < rows; i += lanes) add_run(run + i, sign ? sign + i : NULL, used, parts);
  }
  return ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
}

void esp_activity_sums(const esp_activity_shape *shape, const float *x, const float *signs, double *restrict sums,
                       int threads) {
  assert(threads > 0 && shape->samples > 0);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t c = 0; c < shape->channels; c++) sums[c] = channel_sum(shape, x, signs, c);
}
