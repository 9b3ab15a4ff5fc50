#include "packing/packing.h"

enum { BYTES = 256 };

/// Every byte's value once normalised.
ESP_TARGET static void fill_values(const esp_packing_case *p, size_t channel, float values[BYTES]) {
  for (int byte = 0; byte < BYTES; byte++)
    values[byte] = ((float)byte / 255 - p->mean[channel]) / p->deviation[channel];
}

enum { TILE_COLUMNS = 64, TILE_LANES = 32 };

static inline ptrdiff_t clamped(ptrdiff_t x, ptrdiff_t low, ptrdiff_t high) {
  return x < low ? low : x > high ? high : x;
}

#define PIXEL uint8_t
#define PICK pick_bytes
#include "packing/pick.h"

#define PIXEL float
#define PICK pick_floats
#include "packing/pick.h"

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

/// As `pack_columns`, of numbers that stay as they are.
ESP_TARGET ESP_INLINE void copy_columns(const esp_packing_case *p, size_t b, size_t channel, size_t i, size_t first,
                                        size_t last, float *restrict y) {
  float tile[TILE_COLUMNS * TILE_LANES];
  const size_t lanes = p->lanes, real = esp_real_lanes(p->samples, lanes, b);
  for (size_t l = 0; l < real; l++) pick_floats(p, b * lanes + l, channel, i, first, last, tile + l);
  for (size_t j = 0; j < last - first; j++) {
    for (size_t l = 0; l < real; l++) y[j * lanes + l] = tile[j * lanes + l];
    for (size_t l = real; l < lanes; l++) y[j * lanes + l] = 0;
  }
}

ESP_TARGET static void copy(const esp_packing_case *p, size_t first, size_t last, float *restrict y) {
  for (size_t r = first; r < last; r++) {
    const size_t i = r % p->height, c = r / p->height % p->channels, b = r / p->height / p->channels;
    for (size_t j = 0; j < p->width; j += TILE_COLUMNS) {
      const size_t end = j + TILE_COLUMNS < p->width ? j + TILE_COLUMNS : p->width;
      copy_columns(p, b, c, i, j, end, y + (r * p->width + j) * p->lanes);
    }
  }
}

const esp_packing ESP_VARIANT = {pack, copy};
