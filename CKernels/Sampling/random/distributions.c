#include <assert.h>
#include <math.h>

#include "random/philox.h"

uint64_t esp_random_below(esp_random_key key, uint64_t index, uint64_t n) {
  assert(n > 0);
  return random_below(key, index, n);
}

void esp_random_uniform_f32(esp_random_key key, uint64_t first, size_t n, float low, float high, float *out) {
  assert(low <= high);
  // low + range * u may round up to high: the largest float below it is the
  // last value that may appear.
  const float last = low < high ? nextafterf(high, low) : low;
  philox_block block = random_block(key, first / 4);
  for (size_t i = 0; i < n; i++) {
    const uint64_t index = first + i;
    if (i > 0 && index % 4 == 0) block = random_block(key, index / 4);
    const uint32_t words[4] = {block.c0, block.c1, block.c2, block.c3};
    const float u = (float)(words[index % 4] >> 8) * 0x1p-24f;
    const float value = low + (high - low) * u;
    out[i] = value < last ? value : last;
  }
}

void esp_random_normal_f32(esp_random_key key, uint64_t first, size_t n, double deviation, float *out) {
  const double two_pi = 6.283185307179586;
  for (size_t i = 0; i < n; i++) {
    const philox_block block = random_block(key, first + i);
    const uint64_t radius = block.c0 | (uint64_t)block.c1 << 32, angle = block.c2 | (uint64_t)block.c3 << 32;
    const double u = (double)((radius >> 11) + 1) * 0x1p-53, v = (double)(angle >> 11) * 0x1p-53;
    out[i] = (float)(deviation * sqrt(-2 * log(u)) * cos(two_pi * v));
  }
}

void esp_random_permutation(esp_random_key key, size_t n, uint32_t *permutation) {
  assert(n <= (size_t)1 << 32);
  for (size_t i = 0; i < n; i++) permutation[i] = (uint32_t)i;
  for (size_t i = n; i > 1; i--) {
    const size_t j = random_below(key, i - 1, i);
    const uint32_t kept = permutation[i - 1];
    permutation[i - 1] = permutation[j];
    permutation[j] = kept;
  }
}
