#include <assert.h>
#include <string.h>

#include "linear_backward.h"

static esp_linear_backward_rows *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_linear_backward_rows_scalar, esp_linear_backward_rows_avx2, esp_linear_backward_rows_avx512,
                 esp_linear_backward_rows_neon);

void esp_linear_backward_f32(esp_isa isa, const esp_csr *transposed, const float *values, size_t blocks, size_t lanes,
                             const float *restrict x, const float *restrict d, const float *base, float *dx,
                             int accumulate, float *restrict g, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  if (blocks == 0 && !accumulate) memset(g, 0, transposed->row_starts[transposed->rows] * sizeof *g);
  const esp_linear_backward_task task = {
      .w = *transposed,
      .values = values,
      .blocks = blocks,
      .lanes = lanes,
      .x = x,
      .d = d,
      .base = base,
      .dx = dx,
      .accumulate = accumulate,
      .g = g,
  };
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    variants[isa](&task, esp_csr_first_row(transposed, part, threads),
                  esp_csr_first_row(transposed, part + 1, threads));
  }
}
