#ifndef ESP_CONV_VARIANTS_H
#define ESP_CONV_VARIANTS_H

#include "../include/esp_sparse_conv.h"

/// How a convolution is cut into bands: some output rows with the zero-padded, dilated input that they read, laid out
/// [in_channels, plane] with plane >= input rows * row. A function of shape and lanes alone.
typedef struct esp_conv_plan {
  size_t lanes;
  size_t row;        // floats of one padded input row, as far as outputs read
  size_t plane;      // floats from one channel's band to the next
  size_t band_rows;  // output rows of a full band
  size_t bands;
  size_t band_floats;
  int in_place;  // outputs read the input where it lies, for want of padding and dilation; band_floats is then 0
} esp_conv_plan;

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes);

/// offsets[k] := where the band's input for connection k lies, relative to that of channel 0, tap 0; k in [first,
/// last).
void esp_conv_offsets(const esp_csr *w, const esp_conv_shape *shape, const esp_conv_plan *plan, uint64_t first,
                      uint64_t last, uint32_t *restrict offsets);

/// Copies the input of the output rows [first_row, first_row + rows) of one block into `band`.
void esp_conv_copy_band(const esp_conv_shape *shape, const esp_conv_plan *plan, const float *restrict x,
                        size_t first_row, size_t rows, float *restrict band);

/// What all tasks of one convolution share.
typedef struct esp_conv_call {
  const esp_csr *w;
  const float *values, *bias;
  const esp_conv_shape *shape;
  esp_conv_plan plan;
  const uint32_t *offsets;  // [nnz]
} esp_conv_call;

/// The output channels [first, last) of one band of `rows` output rows; y points to the band's first row in channel 0
/// of its block. Serial.
typedef void esp_conv_band_outputs(const esp_conv_call *call, const float *restrict band, size_t rows,
                                   float *restrict y, size_t first, size_t last);

esp_conv_band_outputs esp_conv_band_outputs_scalar;
#if defined(__x86_64__)
esp_conv_band_outputs esp_conv_band_outputs_avx2;
#endif

#endif
