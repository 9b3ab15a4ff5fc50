#ifndef ESP_SAMPLING_H
#define ESP_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#include "esp_sparse_matmul.h"

// ---- Counter-based random numbers (Philox4x32-10; Salmon et al., SC 2011) -------------------------------------------

/// Names one stream of random numbers. Its numbers are a pure function of (key, index): no state, no order of drawing.
typedef struct esp_random_key {
  uint64_t seed;
  uint32_t stream;  // purpose and layer
  uint32_t step;
} esp_random_key;

/// One Philox4x32-10 block: counter[4], key[2] -> out[4].
void esp_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/// The stream's 64 random bits number `index`.
uint64_t esp_random_bits(esp_random_key key, uint64_t index);

/// Uniform integer in [0, n), n > 0, by multiply-high of 64 random bits (bias below n / 2^64).
uint64_t esp_random_below(esp_random_key key, uint64_t index, uint64_t n);

/// out[i] := uniform in [low, high), from number first + i of the stream: 24 bits of word index % 4 of Philox block
/// index / 4 (whose first two words are esp_random_bits' number index / 4: draw both from one stream only where the
/// blocks differ).
void esp_random_uniform_f32(esp_random_key key, uint64_t first, size_t n, float low, float high, float *out);

/// out[i] := normal with mean 0 and the given deviation (Box-Muller), from Philox block first + i of the stream.
void esp_random_normal_f32(esp_random_key key, uint64_t first, size_t n, double deviation, float *out);

/// permutation := a uniformly random permutation of 0 ..< n (Fisher-Yates).
void esp_random_permutation(esp_random_key key, size_t n, uint32_t *permutation);

// ---- Fields: a number for each connection that a layer could have, none of them stored ------------------------------

/// Connection (o, i) of rows x columns has number n = o * columns + i, and the word n % 4 of Philox block n / 4: a
/// level, its upper 31 bits, and a sign, its lowest bit. Levels are uniform in 0 ..< ESP_FIELD_LEVELS.
#define ESP_FIELD_LEVELS ((uint32_t)1 << 31)

/// Collects the connections whose level lies in low ..< high, in tiles of `tile_rows` rows: row_counts[o] := how many
/// row o has; columns and words of tile t's connections, in order, from t * room on. Of a tile with more than `room`
/// only the first `room` are written, but all are counted.
///
/// row_counts [rows]; column_indices and words [tiles * room]. The same for every instruction set and number of
/// threads. Cost: rows * columns / 4 Philox blocks.
void esp_field_collect(esp_isa isa, esp_random_key key, size_t rows, size_t columns, uint32_t low, uint32_t high,
                       size_t tile_rows, size_t room, uint64_t *restrict row_counts, uint32_t *restrict column_indices,
                       uint32_t *restrict words, int threads);

// ---- Subsets of connections -----------------------------------------------------------------------------------------

/// Draws a uniformly random structure with exactly `count` distinct connections in rows x columns (G(n, M)).
///
/// row_starts [rows + 1], column_indices [count]. Requires count <= rows * columns, columns < 2^32 and rows > 0.
/// For count <= rows * columns / 2 distinct keys are drawn until there are `count`; above it the complement is drawn
/// and the rest emitted row by row. keys and workspace: min(count, rows * columns - count) each.
/// Deterministic in `key`. Cost: O(count + rows), linear.
void esp_random_structure(esp_random_key key, size_t rows, size_t columns, size_t count, uint64_t *restrict keys,
                          uint64_t *restrict workspace, uint64_t *restrict row_starts,
                          uint32_t *restrict column_indices);

/// A discrete distribution over 0 ..< n to draw from in O(1): the alias method (Vose, IEEE TSE 17(9), 1991).
/// A draw chooses i uniformly and keeps it with probability threshold[i], else takes alias[i].
typedef struct esp_alias {
  size_t n;
  const double *threshold;  // [n]
  const uint32_t *alias;    // [n]
} esp_alias;

/// Builds the table that draws i with probability |weights[i]| / sum |weights|; uniform where the sum is zero or not
/// finite.
///
/// threshold [n], alias [n], workspace [n]. An entry of weight zero is never drawn from a sum above zero.
/// Requires n < 2^32. Cost: O(n).
void esp_alias_build(const double *weights, size_t n, double *restrict threshold, uint32_t *restrict alias,
                     uint32_t *restrict workspace);

/// Draw number `index` of the stream: from an uniform table the same as esp_random_below(key, index, n).
size_t esp_alias_draw(const esp_alias *table, esp_random_key key, uint64_t index);

/// S := unique(`draws` pairs (o, i), o ~ outputs, i ~ inputs) \ active. (GSE, Algorithm 2, line "S <- unique(...) minus
/// A".) Where outputs or inputs is NULL, that side is uniform.
///
/// Row counts are drawn first, then each row's columns, so that nothing larger than a row is sorted.
/// row_counts [rows] and row_scratch [columns] are workspace; row_starts [rows + 1]; column_indices has room for
/// min(draws, rows * columns - nnz(active)) entries. Columns ascend within rows. Returns |S|.
/// `key` is used with its stream for rows; the columns come from the stream key.stream ^ 0x80000000.
/// Cost: O(draws log(draws / rows) + nnz + rows).
size_t esp_candidate_subset(esp_random_key key, const esp_csr *active, const esp_alias *outputs,
                            const esp_alias *inputs, uint64_t draws, uint32_t *restrict row_counts,
                            uint32_t *restrict row_scratch, uint64_t *restrict row_starts,
                            uint32_t *restrict column_indices);

/// S := the first `count` distinct inactive pairs (o, i) of a sequence with o ~ outputs, i ~ inputs (NULL: uniform), or
/// as many of them as come in rounds of at most `count` draws before 64 rounds are over: where few pairs hold nearly
/// all of the mass.
///
/// row_starts [rows + 1], column_indices [count]; keys [count] and workspace [count]. Returns |S|.
/// Keys as in esp_candidate_subset. Cost: O(count log(nnz / rows) + rows), times the rounds.
size_t esp_exact_subset(esp_random_key key, const esp_csr *active, const esp_alias *outputs, const esp_alias *inputs,
                        size_t count, uint64_t *restrict keys, uint64_t *restrict workspace,
                        uint64_t *restrict row_starts, uint32_t *restrict column_indices);

/// S := a uniformly random set of exactly `count` inactive connections of `active`.  (SET's growth.)
///
/// Requires count <= rows * columns - nnz. row_starts [rows + 1], column_indices [count]; keys [count] and
/// workspace [count], of which min(count, rows * columns - nnz - count) are used.
/// Samples distinct ranks among the inactive connections and walks the rows to turn ranks into columns.
/// Cost: O(count + nnz + rows).
void esp_random_inactive(esp_random_key key, const esp_csr *active, size_t count, uint64_t *restrict keys,
                         uint64_t *restrict workspace, uint64_t *restrict row_starts,
                         uint32_t *restrict column_indices);

/// Sorts keys [n] in ascending order: least-significant-digit radix sort, O(n). workspace [n].
void esp_sort_u64(uint64_t *restrict keys, size_t n, uint64_t *restrict workspace);

// ---- Top-k by magnitude ---------------------------------------------------------------------------------------------

typedef enum esp_order { ESP_LARGEST = 0, ESP_SMALLEST = 1 } esp_order;

/// Some scores that compete with those of other segments: |values[i]|, i < count.
typedef struct esp_segment {
  const float *values;
  size_t count;
} esp_segment;

/// What separates the selected from the rest: all magnitudes whose bits lie beyond `bits` in the order, and of those
/// equal to it the first `ties` in order of (segment, index).
typedef struct esp_cut {
  uint32_t bits;
  size_t ties;
} esp_cut;

/// Finds the cut that selects exactly k of all segments' entries (k <= total count; k = 0 gives a cut that selects
/// none). Exact by radix selection on the magnitudes' bits: three passes, whatever the values; NaN counts as larger
/// than infinity. histogram [2048] is workspace.
esp_cut esp_select_cut(const esp_segment *segments, size_t segment_count, size_t k, esp_order order,
                       uint64_t *restrict histogram);

/// Writes to `selected` the ascending indices of the entries of values [n] that `cut` selects, and takes the ties it
/// uses off cut->ties, so that calls for the segments in order select exactly k in all. Returns how many it wrote.
size_t esp_collect(const float *values, size_t n, esp_cut *cut, esp_order order, uint32_t *restrict selected);

// ---- Top-k of a stream ----------------------------------------------------------------------------------------------

/// The k largest magnitudes at inactive connections among those shown so far, and up to capacity - k later ones that
/// have yet to be compared.
typedef struct esp_stream {
  size_t k, capacity, count;  // k < capacity, unless the stream has at most k entries
  uint32_t threshold;         // the k-th largest magnitude's bits when entries were last compared
  int is_full;                // whether k entries have been compared
  float *values;              // [capacity]
  uint64_t *keys;             // [capacity], row * columns + column, ascending
  uint32_t *selected;         // [k], workspace
  uint64_t *histogram;        // [2048], workspace
} esp_stream;

/// Shows the stream the rows [first, first + rows) of a gradient, row by row in ascending order, and copies the
/// gradients of active connections to active_gradients [nnz].
///
/// gradients [rows, columns]. Cost: O(rows * columns), amortised.
void esp_stream_rows(esp_stream *stream, const esp_csr *active, size_t first, size_t rows,
                     const float *restrict gradients, float *restrict active_gradients);

/// Keeps the k largest, ties the first in order of keys, in ascending order of keys.
void esp_stream_compact(esp_stream *stream);

#endif
