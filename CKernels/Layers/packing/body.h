#include "packing/packing.h"

enum { BYTES = 256 };

/// Every byte's value once normalised.
ESP_TARGET static void fill_values(const esp_packing_case *p, size_t channel, float values[BYTES]) {
  for (int byte = 0; byte < BYTES; byte++)
    values[byte] = ((float)byte / 255 - p->mean[channel]) * p->inverse_deviation[channel];
}

enum { TILE_COLUMNS = 64, TILE_LANES = 32 };

static inline ptrdiff_t clamped(ptrdiff_t x, ptrdiff_t low, ptrdiff_t high) {
  return x < low ? low : x > high ? high : x;
}

/// Writes the bytes of columns first ..< last of one sample's row i in a channel, `lanes` apart.
ESP_TARGET ESP_INLINE void pick_bytes(const esp_packing_case *p, size_t sample, size_t channel, size_t i, size_t first,
                                      size_t last, uint8_t *restrict tile) {
  const esp_placement placement = p->placements ? p->placements[sample] : (esp_placement){0, 0, 0};
  const ptrdiff_t top = (ptrdiff_t)(p->height - p->source_height) / 2;
  const ptrdiff_t left = (ptrdiff_t)(p->width - p->source_width) / 2;
  const ptrdiff_t row = (ptrdiff_t)i + placement.shift_y - top;
  const int inside = row >= 0 && row < (ptrdiff_t)p->source_height;
  const size_t source_channel = p->source_channels == 1 ? 0 : channel;
  const size_t plane = p->indices[sample] * p->source_channels + source_channel;
  const uint8_t *const source = p->images + (plane * p->source_height + (inside ? (size_t)row : 0)) * p->source_width;
  const size_t width = inside ? p->source_width : 0, lanes = p->lanes;
  // Column j shows the source's column start + j, or start - j where flipped.
  const ptrdiff_t start = (ptrdiff_t)(placement.flip ? p->width - 1 - first : first) + placement.shift_x - left;
  const ptrdiff_t count = (ptrdiff_t)(last - first);
  const ptrdiff_t begin = clamped(placement.flip ? start - (ptrdiff_t)width + 1 : -start, 0, count);
  const ptrdiff_t end = clamped(placement.flip ? start + 1 : (ptrdiff_t)width - start, begin, count);
  for (ptrdiff_t j = 0; j < begin; j++) tile[(size_t)j * lanes] = 0;
  if (placement.flip)
    for (ptrdiff_t j = begin; j < end; j++) tile[(size_t)j * lanes] = source[start - j];
  else
    for (ptrdiff_t j = begin; j < end; j++) tile[(size_t)j * lanes] = source[start + j];
  for (ptrdiff_t j = end; j < count; j++) tile[(size_t)j * lanes] = 0;
}

/// Fills columns first ..< last of row i of a channel of block b. By way of a tile of bytes, so that y is written in
/// order.
ESP_TARGET ESP_INLINE void pack_columns(const esp_packing_case *p, size_t b, size_t channel, size_t i, size_t first,
                                        size_t last, const float values[BYTES], float *restrict y) {
  uint8_t tile[TILE_COLUMNS * TILE_LANES];
  const size_t lanes = p->lanes, real = esp_real_lanes(p->samples, lanes, b);
  for (size_t l = 0; l < real; l++) pick_bytes(p, b * lanes + l, channel, i, first, last, tile + l);
  for (size_t j = 0; j < last - first; j++) {
    for (size_t l = 0; l < real; l++) y[j * lanes + l] = values[tile[j * lanes + l]];
    for (size_t l = real; l < lanes; l++) y[j * lanes + l] = 0;
  }
}

ESP_TARGET static void pack(const esp_packing_case *p, size_t first, size_t last, float *restrict y) {
  float values[BYTES];
  size_t filled = p->channels;  // the channel that `values` holds; at first none
  for (size_t r = first; r < last; r++) {
    const size_t i = r % p->height, c = r / p->height % p->channels, b = r / p->height / p->channels;
    if (c != filled) fill_values(p, filled = c, values);
    for (size_t j = 0; j < p->width; j += TILE_COLUMNS) {
      const size_t end = j + TILE_COLUMNS < p->width ? j + TILE_COLUMNS : p->width;
      pack_columns(p, b, c, i, j, end, values, y + (r * p->width + j) * p->lanes);
    }
  }
}

const esp_packing ESP_VARIANT = {pack};
