#ifndef ESP_CONV_SDDMM_VARIANTS_H
#define ESP_CONV_SDDMM_VARIANTS_H

#include "../divide.h"
#include "../include/esp_sparse_conv.h"

/// How a weight gradient is cut into tiles, a function of shape, nnz, blocks and lanes alone.
///
/// A tile is some output rows (a band) of some blocks (a group), with the input of some channels (a chunk) that they
/// read. Where that input is used often, it is copied, zero-padded, so that every connection reads all of its window,
/// and with the residues of its rows and columns modulo the stride apart, so that neighbouring outputs always read
/// neighbouring pixels: each residue class (a phase) of a channel is an image of its own, and a connection's window is
/// at one offset in it. Where not, it is read in place, and a tap's window is what of it lies inside the image.
typedef struct esp_conv_sddmm_plan {
  size_t lanes, width, height;          // of the output; a 1x1 convolution that is copied has one column
  size_t taps, row_phases, col_phases;  // phases that taps read
  size_t in_height, in_width;
  int in_place;    // X is read where it lies: the copy's phases, padding and workspace have no meaning
  int pointwise;   // 1x1, without stride or padding: the input's copy has no padding either
  size_t row;      // floats from what one output row reads to the next; in a copy what overhangs a row of a phase lies
                   // in the next row's left padding
  size_t plane;    // floats of a phase
  size_t channel;  // floats from one channel to the next: its phases
  size_t segment;  // floats from one block of the tile to the next
  size_t band_rows;  // output rows of a full band
  size_t bands;
  size_t chunk;  // input channels of a full chunk
  size_t chunks;
  size_t group;         // blocks of a full tile: 1 unless there is one band and one chunk
  size_t units;         // bands of all blocks, or groups of blocks
  size_t partial_sums;  // units are divided among so many sums
  size_t d_row;         // floats from one row of D to the next as the kernels read it
  size_t x_floats;      // workspace of a thread for the input's copy
  size_t d_floats;      // and for a copy of D in rows as long as the input's: 0 where D is read in place
  size_t tap_floats;    // and for the taps' windows
} esp_conv_sddmm_plan;

esp_conv_sddmm_plan esp_conv_sddmm_plan_make(const esp_conv_shape *shape, uint64_t nnz, size_t blocks, size_t lanes);

/// What one tap's connections read of a tile's D and X.
typedef struct esp_conv_sddmm_window {
  uint32_t d, x;          // where it starts, from the output channel's and the input channel's first float
  uint32_t rows, floats;  // in D
} esp_conv_sddmm_window;

/// The windows of all taps in the tiles of the band of output rows [top, top + rows).
void esp_conv_sddmm_windows(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, size_t top, size_t rows,
                            esp_conv_sddmm_window *restrict windows);

/// Copies the channels [first, last) of one block, as far as the band from output row `top` reads them, into `to`,
/// whose padding to the left and right is zero already.
void esp_conv_sddmm_copy_input(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict x,
                               size_t first, size_t last, size_t top, float *restrict to);

/// Copies the output rows [top, top + rows) of one block's D into rows of plan->d_row floats, `rows` of them a channel,
/// with zeros at their ends.
void esp_conv_sddmm_copy_delta(const esp_conv_shape *shape, const esp_conv_sddmm_plan *plan, const float *restrict d,
                               size_t top, size_t rows, float *restrict to);

/// D and X of one tile: `segments` times the rows of each tap's window. Where lanes > 0, X is read in place: the lanes
/// of neighbouring positions are x_step floats apart; elsewhere a window's rows are contiguous, and all taps' equal.
typedef struct esp_conv_sddmm_tile {
  const esp_csr *pattern;
  esp_divider by_taps;
  const esp_conv_sddmm_window *windows;  // [taps]
  const float *d, *x;
  size_t segments, lanes, x_step;
  size_t d_channel, x_channel;  // from one channel's D or X to the next
  size_t d_segment, x_segment;  // from segment to segment
  size_t d_row, x_row;          // from row to row
  uint64_t first_column, last_column;
  int accumulate;
} esp_conv_sddmm_tile;

/// The window of a connection, and where its input channel starts.
typedef struct esp_conv_sddmm_place {
  const esp_conv_sddmm_window *window;
  const float *x;
} esp_conv_sddmm_place;

static inline esp_conv_sddmm_place esp_conv_sddmm_place_of(const esp_conv_sddmm_tile *tile, uint64_t k) {
  const uint32_t column = tile->pattern->column_indices[k] - (uint32_t)tile->first_column;
  const uint32_t channel = esp_divide(column, tile->by_taps);
  return (esp_conv_sddmm_place){tile->windows + (column - channel * tile->by_taps.divisor),
                                tile->x + channel * tile->x_channel};
}

/// One tile's part of G at those of the connections [first, last) whose columns are in [first_column, last_column).
/// Overwrites G there where `accumulate` is 0, adds to it elsewhere. Serial.
typedef void esp_conv_sddmm_connections(const esp_conv_sddmm_tile *tile, uint64_t first, uint64_t last,
                                        float *restrict g);

esp_conv_sddmm_connections *esp_conv_sddmm_connections_of(esp_isa isa);

/// What all threads of one weight gradient share.
typedef struct esp_conv_sddmm_call {
  esp_conv_sddmm_connections *connections;
  const esp_csr *pattern;
  const esp_conv_shape *shape;
  esp_conv_sddmm_plan plan;
  size_t blocks;
  const float *x, *d;
  float *g, *sums;  // partial sum p > 0 lies at sums + (p - 1) * nnz; sum 0 in g
} esp_conv_sddmm_call;

/// Output rows [top, top + rows) of the blocks [block, block + blocks).
typedef struct esp_conv_sddmm_unit {
  size_t block, blocks, top, rows;
} esp_conv_sddmm_unit;

esp_conv_sddmm_unit esp_conv_sddmm_unit_of(const esp_conv_sddmm_call *call, size_t unit);

/// A thread's workspace: the input's copy, which is all zeros before the first unit, D's and the windows.
size_t esp_conv_sddmm_space(const esp_conv_sddmm_plan *plan);

/// A unit's part of partial sum `p` at the connections [first, last).
void esp_conv_sddmm_run(const esp_conv_sddmm_call *call, size_t unit, size_t p, uint64_t first, uint64_t last,
                        float *restrict space);

/// Adds up the partial sums at the connections [first, last): (0 + 1) + (2 + 3).
void esp_conv_sddmm_add_up(const esp_conv_sddmm_call *call, uint64_t first, uint64_t last);

esp_conv_sddmm_connections esp_conv_sddmm_connections_scalar;
#if defined(__x86_64__)
esp_conv_sddmm_connections esp_conv_sddmm_connections_avx2, esp_conv_sddmm_connections_avx512;
#elif defined(__aarch64__)
esp_conv_sddmm_connections esp_conv_sddmm_connections_neon;
#endif

/// The first position in [first, last), which lies in one row, whose column is at least `column`; `last` where none is.
static inline uint64_t esp_conv_sddmm_seek(const esp_csr *pattern, uint64_t first, uint64_t last, uint64_t column) {
  while (first < last) {
    const uint64_t middle = first + (last - first) / 2;
    if (pattern->column_indices[middle] < column) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return first;
}

#endif
