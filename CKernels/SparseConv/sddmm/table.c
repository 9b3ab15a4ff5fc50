#include <assert.h>
#include <string.h>

#include "conv_sddmm.h"

static esp_conv_sddmm_connections *const variants[ESP_ISA_COUNT] =
    ESP_VARIANTS(esp_conv_sddmm_connections_scalar, esp_conv_sddmm_connections_avx2, esp_conv_sddmm_connections_avx2,
                 esp_conv_sddmm_connections_scalar);

/// Output rows of a band: as many as keep one channel's part of D in the first-level cache (16 KiB) and all of D's and
/// X's in the second (1 MiB), but enough for 32 positions, over which the cost of starting on a connection is spread.
static size_t rows_in_band(const esp_conv_shape *shape, size_t lanes) {
  const size_t d_row = shape->out_width * lanes, x_row = shape->stride * shape->in_width * lanes;
  const size_t first_level = 4 * 1024 / d_row;
  const size_t second_level = 256 * 1024 / (shape->out_channels * d_row + shape->in_channels * x_row);
  const size_t fitting = first_level < second_level ? first_level : second_level;
  const size_t least = (32 + shape->out_width - 1) / shape->out_width;
  return fitting > least ? fitting : least;
}

void esp_sparse_conv_sddmm_f32(esp_isa isa, const esp_csr *pattern, const esp_conv_shape *shape, size_t blocks,
                               size_t lanes, const float *restrict x, const float *restrict d, float *restrict g,
                               int threads) {
  assert(esp_isa_available(isa) && threads > 0);
  assert(lanes == 1 || lanes == 8 || lanes == 16 || lanes == 32);
  assert(pattern->rows == shape->out_channels && shape->input_dilation == 1);
  assert(pattern->columns == shape->in_channels * shape->kernel_height * shape->kernel_width);
  esp_conv_sddmm_connections *const connections = variants[isa];
  const uint64_t nnz = pattern->row_starts[pattern->rows];
  const size_t in_block = shape->in_channels * shape->in_height * shape->in_width * lanes;
  const size_t out_block = shape->out_channels * shape->out_height * shape->out_width * lanes;
  const size_t height = shape->out_height, band = rows_in_band(shape, lanes);
  if (blocks == 0) memset(g, 0, nnz * sizeof *g);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    const uint64_t first = esp_part(nnz, part, threads), last = esp_part(nnz, part + 1, threads);
    for (size_t block = 0; block < blocks; block++) {
      for (size_t top = 0; top < height; top += band) {
        connections(pattern, shape, lanes, top, top + band < height ? top + band : height, x + block * in_block,
                    d + block * out_block, block > 0 || top > 0, g, first, last);
      }
    }
  }
}
