#ifndef ESP_SPARSE_MATMUL_H
#define ESP_SPARSE_MATMUL_H

#include <stddef.h>
#include <stdint.h>

#include "esp_runtime.h"

/// The connections of one row whose columns lie in one tile.
typedef struct esp_csr_segment {
  uint32_t first;  // position of the first
  uint16_t row;    // within the band
  uint16_t count;
} esp_csr_segment;

/// An order in which a product goes over a structure with so many connections that a tile of the inputs, which the
/// first-level cache holds, is read several times a row: rows in bands, a band's columns in tiles, and in each tile the
/// rows' segments by ascending count, so that the ends of loops are foreseen. A row's own connections stay in order.
typedef struct esp_csr_tiles {
  size_t columns;                   // of a tile; the last of a row has fewer where they do not go into w's
  size_t rows;                      // of a band; the last may have fewer
  const esp_csr_segment *segments;  // [bands][tiles][rows of the band]; NULL: rows are taken whole
} esp_csr_tiles;

/// Structure of a sparse matrix in compressed sparse rows, apart from its values.
///
/// Row o holds the connections row_starts[o] ..< row_starts[o + 1]; within a row the column indices ascend strictly.
/// A stored zero value is a connection like any other. nnz = row_starts[rows] < 2^32 - 1.
typedef struct esp_csr {
  size_t rows;
  size_t columns;
  const uint64_t *row_starts;      // [rows + 1]
  const uint32_t *column_indices;  // [nnz]
  esp_csr_tiles tiles;             // no part of what the matrix is: changes speed, and not one bit of a product
} esp_csr;

/// Activations lie in blocks of `lanes` samples, samples innermost: [blocks, features, lanes], lanes in {1, 8, 16, 32}.

// ---- Products ---------------------------------------------------------------------------------------------------

/// Y := W X + bias.  W [rows, columns]; X [blocks, columns, lanes]; Y [blocks, rows, lanes]; bias [rows] or NULL.
///
/// Overwrites Y. Allocates nothing. Bitwise equal for every `threads`: one thread owns each output element and adds
/// the row's connections in one order that depends on the row alone.
/// Requires lanes in {1, 8, 16, 32}, threads > 0, and Y disjoint from the inputs.
/// The input gradient of a linear layer is the same product with the transposed structure and permuted values.
/// Cost: 2 * nnz * blocks * lanes FLOP.
void esp_spmm_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, size_t blocks, size_t lanes,
                  const float *restrict x, float *restrict y, int threads);

/// Y := base + W X + bias; base [blocks, rows, lanes] or NULL, which stands for zeros. base may be Y.
///
/// Where `streams`, Y is written past the caches if its blocks are whole cache lines: it is not read again soon.
void esp_spmm_add_f32(esp_isa isa, const esp_csr *w, const float *values, const float *bias, const float *base,
                      int streams, size_t blocks, size_t lanes, const float *restrict x, float *y, int threads);

/// G[k] := sum over blocks and lanes of D[b, row(k), l] * X[b, column(k), l], for every connection k of `pattern`.
///
/// D [blocks, rows, lanes]; X [blocks, columns, lanes]; G [nnz]. The weight gradient at the active connections when
/// `pattern` is the layer's own structure, the gradient at candidate connections when it is a candidate subset.
/// Overwrites G. Bitwise equal for every `threads`: a connection's products are added lane by lane over up to 64
/// samples, then over lanes by one tree, and these sums in the order of blocks. Cost: 2 * nnz * blocks * lanes FLOP.
void esp_sddmm_f32(esp_isa isa, const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                   const float *restrict d, float *restrict g, int threads);

/// The same, or, where `accumulate`, added to G.
void esp_sddmm_add_f32(esp_isa isa, const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                       const float *restrict d, int accumulate, float *restrict g, int threads);

/// Both gradients of a linear layer in one pass, which reads D once for both: dx := base + W' D, and G as esp_sddmm_f32
/// has it, but in the order of the transposed structure.
///
/// transposed: W's structure as esp_csr_transpose makes it with taps = 1, rows being inputs, columns outputs; values
/// [nnz] in its order. D [blocks, outputs, lanes]; X, dx and base [blocks, inputs, lanes]; base is NULL, which stands
/// for zeros, or may be dx. G [nnz] is overwritten, or added to where `accumulate`.
/// Bitwise equal for every `threads`: an element of dx is added up in one order that depends on its row alone (without
/// base, esp_spmm_f32's); a connection's products are added lane by lane over one block or two, then over lanes by one
/// tree, and these sums in the order of blocks. Cost: 4 * nnz * blocks * lanes FLOP.
void esp_linear_backward_f32(esp_isa isa, const esp_csr *transposed, const float *values, size_t blocks, size_t lanes,
                             const float *restrict x, const float *restrict d, const float *base, float *dx,
                             int accumulate, float *restrict g, int threads);

/// A rectangle of a linear layer's whole weight gradient, and what it is the product of.
typedef struct esp_gradient_tile {
  size_t rows;
  size_t columns;
  size_t blocks;
  size_t lanes;
  const float *x;  // [blocks, x_features, lanes] from the rectangle's first column on
  size_t x_features;
  const float *d;  // [blocks, d_features, lanes] from its first row on
  size_t d_features;
  float *g;  // [rows, g_columns], of which the first `columns` of each row are the rectangle's
  size_t g_columns;
} esp_gradient_tile;

/// g[r, c] := sum over blocks and lanes of D[b, r, l] * X[b, c, l], for every r < rows and c < columns; or, where
/// `accumulate`, added to g.
///
/// For methods that look at all connections, a tile at a time; no structure is read. blocks = 0 gives zeros.
/// Bitwise equal for every `threads`, and, for one `isa`, however a layer is cut into tiles: an element's products are
/// added one by one in the order of blocks and lanes, by vector variants in sums of 128 samples.
/// Requires lanes in {1, 8, 16, 32}, threads > 0, and G disjoint from X and D.
/// Cost: 2 * rows * columns * blocks * lanes FLOP.
void esp_gradient_tile_f32(esp_isa isa, const esp_gradient_tile *tile, int accumulate, int threads);

// ---- Structure --------------------------------------------------------------------------------------------------

/// Returned by esp_csr_check.
typedef enum esp_csr_status {
  ESP_CSR_OK = 0,
  ESP_CSR_BAD_ROW_STARTS,  // row_starts[0] != 0, or they descend
  ESP_CSR_COLUMN_OUT_OF_RANGE,
  ESP_CSR_COLUMNS_NOT_ASCENDING,
  ESP_CSR_TOO_MANY  // nnz >= 2^32 - 1 or columns > 2^32
} esp_csr_status;

/// Checks every invariant of `w`; *row receives the first offending row (untouched when OK).
esp_csr_status esp_csr_check(const esp_csr *w, size_t *row);

/// Transposes in O(nnz + rows + columns).
///
/// Columns of `w` are read as (channel, tap) with column = channel * taps + tap (a linear layer: taps = 1; a
/// convolution: taps = kh * kw). The result has columns / taps rows (channels) and rows * taps columns; connection (o,
/// c, t) becomes row c, column o * taps + (taps - 1 - t): the flipped kernel, with which the forward convolution
/// computes the input gradient. Columns ascend within each row of the result. row_starts_t [columns / taps + 1],
/// column_indices_t [nnz], permutation [nnz]: position in the result -> position in w. Requires taps to divide columns.
void esp_csr_transpose(const esp_csr *w, size_t taps, uint64_t *restrict row_starts_t,
                       uint32_t *restrict column_indices_t, uint32_t *restrict permutation);

/// The tiles that a structure of this size is worth: a pure function of it; columns = 0 where there are none.
esp_csr_tiles esp_csr_choose_tiles(size_t rows, size_t columns, uint64_t nnz);

/// Segments of `w` in these tiles: rows * ceil(columns / tiles.columns).
size_t esp_csr_segment_count(const esp_csr *w, esp_csr_tiles tiles);

/// Fills segments [esp_csr_segment_count] with the connections of `w`, in O(nnz + segments).
/// Requires 0 < tiles.columns <= ESP_TILE_COLUMNS_MOST, 0 < tiles.rows <= ESP_BAND_ROWS_MOST, threads > 0.
void esp_csr_fill_segments(const esp_csr *w, esp_csr_tiles tiles, esp_csr_segment *restrict segments, int threads);

#define ESP_TILE_COLUMNS_MOST 512
#define ESP_BAND_ROWS_MOST 1024

/// Marks a grown connection in a remap.
#define ESP_REMAP_GROWN UINT32_MAX

/// Rebuilds `w` without the connections at the positions `pruned` and with those of `grown`, by a merge in
/// O(nnz + rows + grown).
///
/// pruned [pruned_count]: ascending distinct positions in w. grown: a structure of the same rows and columns, whose
/// connections are inactive in w. Outputs: row_starts [rows + 1], column_indices [n], remap [n] with n = nnz -
/// pruned_count + nnz(grown): new position -> old position, or ESP_REMAP_GROWN. If grown_positions is not NULL it
/// receives, for each grown connection in order, its new position ([nnz(grown)]).
/// Returns 0, or 1 where a grown connection is already active and stays (outputs are then unspecified).
int esp_csr_apply_change(const esp_csr *w, const uint32_t *pruned, size_t pruned_count, const esp_csr *grown,
                         uint64_t *restrict row_starts, uint32_t *restrict column_indices, uint32_t *restrict remap,
                         uint32_t *restrict grown_positions);

/// out[i] := remap[i] == ESP_REMAP_GROWN ? fill : in[remap[i]], i < n.
void esp_remap_f32(const float *restrict in, const uint32_t *restrict remap, size_t n, float fill, float *restrict out,
                   int threads);

/// out[i] := in[permutation[i]], i < n.
void esp_permute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                     int threads);

/// out[permutation[i]] := in[i], i < n: takes back what esp_permute_f32 did.
void esp_unpermute_f32(const float *restrict in, const uint32_t *restrict permutation, size_t n, float *restrict out,
                       int threads);

/// The row that holds position k: the largest o with row_starts[o] <= k. O(log rows).
size_t esp_csr_row_of(const esp_csr *w, uint64_t k);

/// First row of part `part` of `parts` row ranges with about equal numbers of connections and rows; `rows` for part =
/// parts. O(log rows).
size_t esp_csr_first_row(const esp_csr *w, size_t part, size_t parts);

#endif
