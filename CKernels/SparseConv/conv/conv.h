#ifndef ESP_CONV_VARIANTS_H
#define ESP_CONV_VARIANTS_H

#include "../include/esp_sparse_conv.h"

enum {
  esp_conv_max_blocks = 64,  // in a band
  esp_conv_max_runs = 8,     // along an axis
  esp_conv_max_taps = 16,    // along an axis of the kernel, where there are lists by run
  esp_conv_points = 32,      // in a tile
  esp_conv_few = 8,          // in a tile of images with many channels, and positions of a 1x1 convolution's dense copy
  esp_conv_small = 16384     // floats that lists may always take
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
/// Outputs read the input where it lies, with a list for each pair of a row and a column run: of the connections that
/// meet the input. A 1x1 convolution whose channels all begin in the same sets of the caches reads a dense copy of some
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
  size_t points;  // of a tile: many where what they read is a small part of a second-level cache, so that each output
                  // channel's memory is walked through in order
} esp_conv_plan;

esp_conv_plan esp_conv_plan_make(const esp_conv_shape *shape, size_t lanes);

/// A connection as kernels read it.
typedef struct esp_conv_entry {
  uint32_t offset;  // of the input it meets, from where the kernel's first tap would be
  float value;
} esp_conv_entry;

/// Pairs of a row and a column run.
static inline size_t esp_conv_pairs(const esp_conv_plan *plan) {
  return plan->rows.count * plan->columns.count;
}

/// The connections that are listed at a time: those of some output channels, for some pairs of a row and a column run.
/// Pair l is row run l / columns.count with column run l % columns.count.
typedef struct esp_conv_panel {
  size_t first, last;            // output channels
  size_t first_pair, last_pair;  // of runs
} esp_conv_panel;

/// Where a panel lies in the workspace. All pairs share the connections' entries, in column order; a pair whose points
/// do not meet the input through every tap has the indices of those they do, from the channel's first.
typedef struct esp_conv_lists {
  esp_conv_panel panel;
  uint64_t base;            // the panel's first connection
  size_t nnz;               // of the panel
  esp_conv_entry *entries;  // [nnz]
  uint32_t *counts;         // [indexed pairs of the panel, channels]: how many indices
  uint16_t *indices;        // [indexed pairs of the panel, nnz]: a channel's from its first connection on
} esp_conv_lists;

/// Floats that all lists take, of one panel at a time.
///
/// The connections of one channel and the indices for one pair always fit; beyond these the number obeys the rule for
/// buffers on the side of the weights: it is at most 4 (nnz + rows + columns) and less than rows * columns, or small.
size_t esp_conv_list_floats(const esp_conv_plan *plan, size_t nnz);

/// The panel that begins with the channel and pair where `before` ends, as large as fits in `floats`.
esp_conv_lists esp_conv_next_panel(const esp_csr *w, const esp_conv_plan *plan, esp_conv_panel before, float *workspace,
                                   size_t floats);

/// Makes the lists of the output channels [first, last) of a panel. Serial.
void esp_conv_make_lists(const esp_csr *w, const float *values, const esp_conv_plan *plan, const esp_conv_lists *lists,
                         size_t first, size_t last);

/// One pair's connections in each output channel.
typedef struct esp_conv_list {
  const uint64_t *row_starts;  // of the whole structure
  esp_conv_lists lists;
  uint32_t skipped;         // offset of the first tap that meets the input
  const uint32_t *counts;   // [panel's channels], or NULL: all
  const uint16_t *indices;  // [panel's connections]
} esp_conv_list;

esp_conv_list esp_conv_list_of(const esp_csr *w, const esp_conv_plan *plan, const esp_conv_lists *lists, size_t pair);

/// One channel of a list: entries[indices[i]] or, where there are no indices, entries[i].
typedef struct esp_conv_channel {
  const esp_conv_entry *entries;
  const uint16_t *indices;
  size_t count;
} esp_conv_channel;

static inline esp_conv_channel esp_conv_channel_of(const esp_conv_list *list, size_t o) {
  const size_t at = list->row_starts[o] - list->lists.base;
  const esp_conv_entry *entries = list->lists.entries + at;
  if (!list->counts) return (esp_conv_channel){entries, NULL, list->row_starts[o + 1] - list->row_starts[o]};
  return (esp_conv_channel){entries, list->indices + at, list->counts[o - list->lists.panel.first]};
}

/// Input rows.
typedef struct esp_conv_rows {
  size_t first, last;
} esp_conv_rows;

/// The input rows, of the padded input where the band is padded, that the output rows [first, last) of an image read.
esp_conv_rows esp_conv_rows_read(const esp_conv_plan *plan, size_t first, size_t last);

/// Copies these rows of a block's input into its part of a band.
void esp_conv_copy_band(const esp_conv_plan *plan, const float *restrict x, esp_conv_rows rows, float *restrict band);

/// Up to esp_conv_points output positions that share a list. A point's `floats` outputs are adjacent, as is the input
/// that a connection reads for them: at the connection's offset from `in`, which may lie outside of the input itself.
typedef struct esp_conv_tile {
  size_t points, floats;
  const float *in[esp_conv_points];
  float *out[esp_conv_points];  // in output channel 0
} esp_conv_tile;

/// What the tiles of one convolution share.
typedef struct esp_conv_outputs {
  const float *bias;
  const float *base;   // what they are added to, laid out as they are, or NULL
  const float *y;      // where they begin
  size_t first, last;  // output channels
  size_t plane;        // floats from one output channel to the next
  int streams;         // 1 where outputs are written past the caches
} esp_conv_outputs;

/// What one of the outputs is added to; there is a base.
static inline const float *esp_conv_base_of(const esp_conv_outputs *outputs, const float *output) {
  return outputs->base + (output - outputs->y);
}

/// Every output of a tile, each the sum of its connections in column order. Serial.
typedef void esp_conv_compute(const esp_conv_outputs *outputs, const esp_conv_list *list, const esp_conv_tile *tile);

/// A convolution under way.
typedef struct esp_conv_call {
  esp_conv_plan plan;
  const esp_csr *w;
  esp_conv_compute *compute;
} esp_conv_call;

/// Computes a panel's part of the output rows [first, last), numbered through the blocks. Serial.
void esp_conv_walk(const esp_conv_call *call, const esp_conv_lists *lists, const esp_conv_outputs *outputs,
                   size_t first, size_t last, const float *restrict x, float *restrict y, float *restrict band);

esp_conv_compute *esp_conv_compute_of(esp_isa isa);

/// Whether `floats` outputs go past the caches: where they would not stay in a second-level cache until they are read.
int esp_conv_streams(const float *y, size_t lanes, size_t floats);

esp_conv_compute esp_conv_compute_scalar, esp_conv_compute_avx2, esp_conv_compute_avx512, esp_conv_compute_neon;

#endif
