#ifndef ESP_CONV_VARIANTS_H
#define ESP_CONV_VARIANTS_H

#include "../include/esp_sparse_conv.h"

enum {
  esp_conv_max_blocks = 64,  // in a band
  esp_conv_max_runs = 8,     // along an axis
  esp_conv_max_taps = 16,    // along an axis of the kernel, where there are lists by run
  esp_conv_points = 8        // in a tile
};

/// Evenly spaced output rows (or columns) with the same taps inside the image. Output first + q * step reads, through
/// tap t, the input (first * stride + t - pad) / dilation + q * in_step, for the taps t in `taps`; in_first + q *
/// in_step is the first that it reads.
typedef struct esp_conv_run {
  size_t first, in_first, count, step, in_step;
  uint32_t taps;  // bit t
} esp_conv_run;

/// The outputs of one axis, cut into runs.
typedef struct esp_conv_axis {
  esp_conv_run runs[esp_conv_max_runs];
  size_t count;
} esp_conv_axis;

/// How a convolution is computed: a function of shape and lanes alone.
///
/// Outputs read the input where it lies, a list of connections for each row run and column run: of those that meet the
/// input. A 1x1 convolution whose channels all begin in the same sets of the caches reads a dense copy of some
/// positions at a time. Where there would be too many lists, and for single samples (lanes = 1), whose columns make up
/// the vectors, a band of rows at a time is copied with its padding, and there is one list.
typedef struct esp_conv_plan {
  esp_conv_shape image;  // what is convolved; a 1x1 convolution is over one column (of single samples: row)
  esp_conv_shape shape;  // the same as computed, with the padding part of the image where `padded`
  size_t lanes;
  esp_conv_axis rows, columns;
  int copies, padded;
  size_t floats;  // outputs of a point
  size_t phase;   // 0, or for single samples: a band's row holds columns j, j + stride, ... side by side, in as
                  // many phases of this many floats
  size_t row, plane, block;  // floats from an input row, channel, block to the next, where outputs read it
  size_t band_rows;          // output rows of a band, whose input takes half of a second-level cache at most
  size_t band_blocks;        // blocks of a band; 1 where it has fewer rows than the image
  size_t band_floats;
} esp_conv_plan;

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes);

/// A connection as kernels read it.
typedef struct esp_conv_entry {
  uint32_t offset;  // of the input it meets, from the point's own
  float value;
} esp_conv_entry;

/// The connections of each output channel that meet the input.
typedef struct esp_conv_list {
  const uint32_t *starts;         // [out_channels + 1]
  const esp_conv_entry *entries;  // [starts[out_channels]]
} esp_conv_list;

/// Number of lists.
static inline size_t esp_conv_lists(const esp_conv_plan *plan) {
  return plan->rows.count * plan->columns.count;
}

/// Where connections lie in one channel's input, and which tap of the kernel they are: [2 * nnz].
typedef struct esp_conv_place {
  uint32_t channel, tap;
} esp_conv_place;

/// The places of the connections [first, last).
void esp_conv_places(const esp_csr *w, const esp_conv_plan *plan, uint64_t first, uint64_t last,
                     esp_conv_place *restrict places);

/// Makes the list of one row run and one column run: starts [rows + 1], entries [nnz] or less.
void esp_conv_make_list(const esp_csr *w, const float *values, const esp_conv_plan *plan, const esp_conv_place *places,
                        size_t row_run, size_t column_run, uint32_t *restrict starts, esp_conv_entry *restrict entries);

/// Input rows.
typedef struct esp_conv_rows {
  size_t first, last;
} esp_conv_rows;

/// The input rows, of the padded input where the band is padded, that the output rows [first, last) of an image read.
esp_conv_rows esp_conv_rows_read(const esp_conv_plan *plan, size_t first, size_t last);

/// Copies these rows of a block's input into its part of a band.
void esp_conv_copy_band(const esp_conv_plan *plan, const float *restrict x, esp_conv_rows rows, float *restrict band);

/// Up to esp_conv_points output positions that share a list. A point's `floats` outputs are adjacent, as is the input
/// that a connection reads for them.
typedef struct esp_conv_tile {
  size_t points, floats;
  const float *in[esp_conv_points];
  float *out[esp_conv_points];  // in output channel 0
} esp_conv_tile;

/// What the tiles of one convolution share.
typedef struct esp_conv_outputs {
  const float *bias;
  size_t first, last;  // output channels
  size_t plane;        // floats from one output channel to the next
  int streams;         // 1 where outputs are written past the caches
} esp_conv_outputs;

/// Every output of a tile, each the sum of its connections in column order. Serial.
typedef void esp_conv_compute(const esp_conv_outputs *outputs, const esp_conv_list *list, const esp_conv_tile *tile);

/// A convolution under way.
typedef struct esp_conv_call {
  esp_conv_plan plan;
  const esp_conv_shape *shape;
  esp_conv_compute *compute;
  size_t nnz;
  const uint32_t *starts;         // [lists, out_channels + 1]
  const esp_conv_entry *entries;  // [lists, nnz]
} esp_conv_call;

static inline esp_conv_list esp_conv_list_at(const esp_conv_call *call, size_t list) {
  return (esp_conv_list){call->starts + list * (call->shape->out_channels + 1), call->entries + list * call->nnz};
}

/// Computes the output rows [first, last), numbered through the blocks. Serial.
void esp_conv_walk(const esp_conv_call *call, const esp_conv_outputs *outputs, size_t first, size_t last,
                   const float *restrict x, float *restrict y, float *restrict band);

esp_conv_compute esp_conv_compute_scalar, esp_conv_compute_avx2, esp_conv_compute_avx512, esp_conv_compute_neon;

#endif
