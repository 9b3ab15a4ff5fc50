#include <assert.h>
#include <string.h>

#include "sddmm.h"

static esp_sddmm_connections *const variants[ESP_ISA_COUNT] = ESP_VARIANTS(
    esp_sddmm_connections_scalar, esp_sddmm_connections_avx2, esp_sddmm_connections_avx512, esp_sddmm_connections_neon);

/// Blocks that are taken together: their inputs, which are read at random, stay in half of an L2 of 2 MB.
static size_t blocks_at_once(size_t columns, size_t lanes) {
  const size_t fitting = ((size_t)1 << 18) / (columns > 0 ? columns * lanes : 1);
  return fitting >= 4 ? 4 : fitting >= 2 ? 2 : 1;
}

void esp_sddmm_f32(esp_isa isa, const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                   const float *restrict d, float *restrict g, int threads) {
  esp_sddmm_add_f32(isa, pattern, blocks, lanes, x, d, 0, g, threads);
}

void esp_sddmm_add_f32(esp_isa isa, const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                       const float *restrict d, int accumulate, float *restrict g, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  esp_sddmm_connections *const connections = variants[isa];
  const uint64_t nnz = pattern->row_starts[pattern->rows];
  const size_t at_once = blocks_at_once(pattern->columns, lanes);
  if (blocks == 0 && !accumulate) memset(g, 0, nnz * sizeof *g);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    const uint64_t first = esp_part(nnz, part, threads), last = esp_part(nnz, part + 1, threads);
    for (size_t block = 0; block < blocks; block += at_once) {
      connections(pattern, blocks - block < at_once ? blocks - block : at_once, lanes,
                  x + block * pattern->columns * lanes, d + block * pattern->rows * lanes, accumulate || block > 0, g,
                  first, last);
    }
  }
}
