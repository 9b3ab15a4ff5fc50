#include <assert.h>

#include "packing/packing.h"

ESP_DEFINE_KERNELS_OF(esp_packing)

void esp_pack_images(esp_isa isa, const uint8_t *images, const uint32_t *indices, const esp_placement *placements,
                     size_t source_channels, size_t source_height, size_t source_width, size_t channels, size_t height,
                     size_t width, const float *mean, const float *deviation, size_t samples, size_t lanes,
                     float *restrict y, int threads) {
  assert(lanes <= 32 && source_height <= height && source_width <= width);
  assert(source_channels == 1 || source_channels == channels);
  const esp_packing *const kernels = kernels_of(isa);
  const esp_packing_case pack = {images, indices, placements, source_channels, source_height, source_width, channels,
                                 height, width,   mean,       deviation,       samples,       lanes};
  const size_t rows = esp_block_count(samples, lanes) * channels * height;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->pack(&pack, esp_part(rows, t, threads), esp_part(rows, t + 1, threads), y);
}

void esp_pack_floats(esp_isa isa, const float *images, const uint32_t *indices, const esp_placement *placements,
                     size_t source_channels, size_t source_height, size_t source_width, size_t channels, size_t height,
                     size_t width, size_t samples, size_t lanes, float *restrict y, int threads) {
  assert(lanes <= 32 && source_height <= height && source_width <= width);
  assert(source_channels == 1 || source_channels == channels);
  const esp_packing *const kernels = kernels_of(isa);
  const esp_packing_case pack = {images,       indices,  placements, source_channels, source_height,
                                 source_width, channels, height,     width,           NULL,
                                 NULL,         samples,  lanes};
  const size_t rows = esp_block_count(samples, lanes) * channels * height;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) kernels->copy(&pack, esp_part(rows, t, threads), esp_part(rows, t + 1, threads), y);
}
