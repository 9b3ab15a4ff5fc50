#include <assert.h>

#include "spmm.h"

static esp_spmm_rows *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_spmm_rows_scalar, esp_spmm_rows_avx2, esp_spmm_rows_avx512, esp_spmm_rows_neon);

/// Blocks that are taken together: two where the weights lie beyond a second-level cache by far, so that each is read
/// half as often, and two blocks' inputs, which are read at random, take half of a second-level cache at most.
static size_t blocks_at_once(const esp_csr *w, size_t lanes) {
  const size_t many = (size_t)1 << 20, inputs = (size_t)1 << 17;
  return lanes > 1 && w->row_starts[w->rows] > many && w->columns * lanes <= inputs ? 2 : 1;
}

/// First row of part `part` of `parts`: where `tiled`, of a band.
static size_t first_row(const esp_csr *w, int tiled, size_t part, size_t parts) {
  const size_t row = esp_csr_first_row(w, part, parts), band = tiled ? w->tiles.rows : 1;
  const size_t bands = (row + band - 1) / band;
  return bands * band < w->rows ? bands * band : w->rows;
}

void esp_spmm_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, size_t blocks, size_t lanes,
                  const float *restrict x, float *restrict y, int threads) {
  esp_spmm_add_f32(isa, w, values, bias, NULL, 0, blocks, lanes, x, y, threads);
}

void esp_spmm_add_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, const float *base,
                      int streams, size_t blocks, size_t lanes, const float *restrict x, float *y, int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  esp_spmm_rows *const rows = variants[isa];
  const int tiled = w->tiles.segments && lanes == 32;
  const size_t at_once = tiled ? 1 : blocks_at_once(w, lanes);
  const size_t groups = (blocks + at_once - 1) / at_once;
  size_t parts = 1;  // so few that every thread has as many tasks as another
  while (groups * parts % (size_t)threads != 0) parts++;
  const size_t tasks = groups * parts;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t i = 0; i < tasks; i++) {
    const size_t block = i / parts * at_once, part = i % parts;
    const esp_spmm_task task = {
        .w = w,
        .values = values,
        .bias = bias,
        .streams = streams && !tiled && lanes >= 16 && (uintptr_t)y % 64 == 0,
        .base = base ? base + block * w->rows * lanes : NULL,
        .tiled = tiled,
        .blocks = blocks - block < at_once ? blocks - block : at_once,
        .lanes = lanes,
        .x = x + block * w->columns * lanes,
        .y = y + block * w->rows * lanes,
    };
    rows(&task, first_row(w, tiled, part, parts), first_row(w, tiled, part + 1, parts));
  }
}
