#include "alias.h"

#include <assert.h>
#include <math.h>

/// Entries that want less than their share lie at the front of `stack`, those that have more at its end.
typedef struct shares {
  uint32_t *stack;
  size_t small, large;  // stack[0 ..< small], stack[large ..< n]
} shares;

static void put(shares *shares, double share, uint32_t i) {
  if (share < 1)
    shares->stack[shares->small++] = i;
  else
    shares->stack[--shares->large] = i;
}

void esp_alias_build(const double *weights, size_t n, double *restrict threshold, uint32_t *restrict alias,
                     uint32_t *restrict workspace) {
  assert(n < (uint64_t)1 << 32);
  double mass = 0;
  for (size_t i = 0; i < n; i++) mass += fabs(weights[i]);
  const int is_uniform = !(mass > 0) || isinf(mass);
  for (size_t i = 0; i < n; i++) {
    threshold[i] = is_uniform ? 1 : fabs(weights[i]) / mass * (double)n;
    alias[i] = (uint32_t)i;
  }
  // Zeros on top of the stack, so that what rounding leaves over is never one of them.
  shares shares = {workspace, 0, n};
  for (size_t i = 0; i < n; i++)
    if (threshold[i] > 0) put(&shares, threshold[i], (uint32_t)i);
  for (size_t i = 0; i < n; i++)
    if (!(threshold[i] > 0)) put(&shares, 0, (uint32_t)i);
  while (shares.small > 0 && shares.large < n) {
    const uint32_t poor = workspace[--shares.small], rich = workspace[shares.large++];
    alias[poor] = rich;
    threshold[rich] = threshold[rich] + threshold[poor] - 1;
    put(&shares, threshold[rich], rich);
  }
  while (shares.small > 0) threshold[workspace[--shares.small]] = 1;
  while (shares.large < n) threshold[workspace[shares.large++]] = 1;
}

size_t esp_alias_draw(const esp_alias *table, esp_random_key key, uint64_t index) {
  return alias_draw(table, table->n, key, index);
}
