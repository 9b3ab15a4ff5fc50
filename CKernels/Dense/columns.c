#include <string.h>

#include "dense.h"

int esp_is_pointwise(const esp_conv_shape *s) {
  return s->kernel_height == 1 && s->kernel_width == 1 && s->stride == 1 && s->pad_top == 0 && s->pad_left == 0 &&
         s->out_height == s->in_height && s->out_width == s->in_width;
}

size_t esp_band_positions(const esp_conv_shape *shape, size_t rows, size_t lanes) {
  size_t floats = esp_min(esp_max((1 << 17) / rows, 256), 1024);
  return esp_min(esp_max(floats / lanes, 1), esp_positions(shape));
}

size_t esp_weight_tile(const esp_conv_shape *shape) {
  size_t eighth = esp_ceil_div(esp_patch_size(shape), 8);
  return esp_min(esp_ceil_div(eighth, 8) * 8, 256);
}

size_t esp_channel_tile(const esp_conv_shape *shape) {
  return esp_min(esp_max(256 / (shape->kernel_height * shape->kernel_width), 1), shape->in_channels);
}

size_t esp_thread_workspace(const esp_conv_shape *shape, size_t lanes) {
  size_t rows[3] = {esp_patch_size(shape), esp_weight_tile(shape),
                    esp_channel_tile(shape) * shape->kernel_height * shape->kernel_width};
  size_t most = 0;
  for (int i = 0; i < 3; ++i) most = esp_max(most, rows[i] * esp_band_positions(shape, rows[i], lanes) * lanes);
  return esp_ceil_div(most, 16) * 16;  // so that no two threads share a cache line
}

size_t esp_dense_conv_workspace(const esp_conv_shape *shape, size_t lanes, int threads) {
  return esp_thread_workspace(shape, lanes) * (size_t)threads;
}

/// One im2col row's weight, and the part of one output row that a band covers.
typedef struct segment {
  size_t channel, ky, kx;
  size_t y, x_begin, x_end;
} segment;

/// Which of a segment's positions meet a pixel: [begin, end) within the segment, the first at input column `column` of
/// input row `row`. An empty range where the row lies in the padding.
typedef struct overlap {
  size_t begin, end;
  size_t row, column;
} overlap;

static overlap find_overlap(const esp_conv_shape *s, segment g) {
  overlap none = {0, 0, 0, 0};
  size_t padded_row = g.y * s->stride + g.ky;
  if (padded_row < s->pad_top || padded_row - s->pad_top >= s->in_height) return none;
  // x * stride + kx lies in [pad_left, pad_left + in_width)
  size_t low = s->pad_left > g.kx ? esp_ceil_div(s->pad_left - g.kx, s->stride) : 0;
  size_t limit = s->pad_left + s->in_width;
  size_t high = limit > g.kx ? esp_ceil_div(limit - g.kx, s->stride) : 0;
  low = esp_max(low, g.x_begin);
  high = esp_min(high, g.x_end);
  if (low >= high) return none;
  overlap found = {low - g.x_begin, high - g.x_begin, padded_row - s->pad_top, low * s->stride + g.kx - s->pad_left};
  return found;
}

static segment first_segment(const esp_conv_shape *s, size_t row, esp_band band) {
  size_t taps = s->kernel_height * s->kernel_width, tap = row % taps;
  size_t y = band.first_position / s->out_width, row_start = y * s->out_width;
  segment g = {row / taps, tap / s->kernel_width,           tap % s->kernel_width,
               y,          band.first_position - row_start, esp_min(s->out_width, band.position_end - row_start)};
  return g;
}

/// Moves on to the next output row; 0 where the band has ended.
static int next_segment(const esp_conv_shape *s, esp_band band, segment *g) {
  g->y += 1;
  size_t row_start = g->y * s->out_width;
  if (row_start >= band.position_end) return 0;
  g->x_begin = 0;
  g->x_end = esp_min(s->out_width, band.position_end - row_start);
  return 1;
}

static void gather(const esp_conv_shape *s, segment g, size_t lanes, const float *restrict x, float *restrict out) {
  overlap o = find_overlap(s, g);
  size_t width = g.x_end - g.x_begin;
  memset(out, 0, o.begin * lanes * sizeof(float));
  memset(out + o.end * lanes, 0, (width - o.end) * lanes * sizeof(float));
  if (o.begin == o.end) return;
  const float *in = x + ((g.channel * s->in_height + o.row) * s->in_width + o.column) * lanes;
  out += o.begin * lanes;
  if (s->stride == 1) {
    memcpy(out, in, (o.end - o.begin) * lanes * sizeof(float));
    return;
  }
  for (size_t i = 0; i < o.end - o.begin; ++i)
    memcpy(out + i * lanes, in + i * s->stride * lanes, lanes * sizeof(float));
}

static void scatter(const esp_conv_shape *s, segment g, size_t lanes, const float *restrict in, float *restrict dx) {
  overlap o = find_overlap(s, g);
  if (o.begin == o.end) return;
  float *out = dx + ((g.channel * s->in_height + o.row) * s->in_width + o.column) * lanes;
  in += o.begin * lanes;
  if (s->stride == 1) {
    for (size_t i = 0; i < (o.end - o.begin) * lanes; ++i) out[i] += in[i];
    return;
  }
  for (size_t i = 0; i < o.end - o.begin; ++i)
    for (size_t l = 0; l < lanes; ++l) out[i * s->stride * lanes + l] += in[i * lanes + l];
}

void esp_im2col(const esp_conv_shape *shape, esp_band band, size_t lanes, const float *restrict x,
                float *restrict columns) {
  for (size_t row = band.first_row; row < band.row_end; ++row) {
    segment g = first_segment(shape, row, band);
    do {
      gather(shape, g, lanes, x, columns);
      columns += (g.x_end - g.x_begin) * lanes;
    } while (next_segment(shape, band, &g));
  }
}

void esp_col2im(const esp_conv_shape *shape, esp_band band, size_t lanes, const float *restrict columns,
                float *restrict dx) {
  for (size_t row = band.first_row; row < band.row_end; ++row) {
    segment g = first_segment(shape, row, band);
    do {
      scatter(shape, g, lanes, columns, dx);
      columns += (g.x_end - g.x_begin) * lanes;
    } while (next_segment(shape, band, &g));
  }
}
