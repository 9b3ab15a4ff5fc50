#include "packing/packing.h"

enum { BYTES = 256 };

/// Every byte's value once normalised.
ESP_TARGET static void fill_values(const esp_packing_case *p, size_t channel, float values[BYTES]) {
  for (int byte = 0; byte < BYTES; byte++)
    values[byte] = ((float)byte / 255 - p->mean[channel]) * p->inverse_deviation[channel];
}

/// Writes one sample's row i of a channel to y, whose elements lie `lanes` apart.
ESP_TARGET static void pack_row(const esp_packing_case *p, size_t sample, size_t channel, size_t i,
                                const float values[BYTES], float *restrict y) {
  const esp_placement placement = p->placements ? p->placements[sample] : (esp_placement){0, 0, 0};
  const ptrdiff_t top = (ptrdiff_t)(p->height - p->source_height) / 2;
  const ptrdiff_t left = (ptrdiff_t)(p->width - p->source_width) / 2;
  const ptrdiff_t row = (ptrdiff_t)i + placement.shift_y - top;
  const int inside = row >= 0 && row < (ptrdiff_t)p->source_height;
  const size_t source_channel = p->source_channels == 1 ? 0 : channel;
  const size_t plane = p->indices[sample] * p->source_channels + source_channel;
  const uint8_t *const source = p->images + (plane * p->source_height + (inside ? (size_t)row : 0)) * p->source_width;
  for (size_t j = 0; j < p->width; j++) {
    const size_t flipped = placement.flip ? p->width - 1 - j : j;
    const ptrdiff_t column = (ptrdiff_t)flipped + placement.shift_x - left;
    const int seen = inside && column >= 0 && column < (ptrdiff_t)p->source_width;
    y[j * p->lanes] = values[seen ? source[column] : 0];
  }
}

ESP_TARGET static void pack(const esp_packing_case *p, size_t first, size_t last, float *restrict y) {
  float values[BYTES];
  size_t filled = p->channels;  // the channel that `values` holds; at first none
  for (size_t r = first; r < last; r++) {
    const size_t i = r % p->height, c = r / p->height % p->channels, b = r / p->height / p->channels;
    if (c != filled) fill_values(p, filled = c, values);
    const size_t real = esp_real_lanes(p->samples, p->lanes, b);
    float *const row = y + r * p->width * p->lanes;
    for (size_t l = 0; l < real; l++) pack_row(p, b * p->lanes + l, c, i, values, row + l);
    for (size_t l = real; l < p->lanes; l++)
      for (size_t j = 0; j < p->width; j++) row[j * p->lanes + l] = 0;
  }
}

const esp_packing ESP_VARIANT = {pack};
