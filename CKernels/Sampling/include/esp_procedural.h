#ifndef ESP_PROCEDURAL_H
#define ESP_PROCEDURAL_H

#include "esp_sampling.h"

// Weights that are computed where they are needed and kept nowhere, and selection among scores of all of them.

/// A matrix [rows, columns] whose element (o, i) is number o * columns + i of a stream, uniform in [low, high): what
/// esp_random_uniform_f32 fills a dense matrix with.
typedef struct esp_procedural {
  esp_random_key key;
  size_t rows, columns;
  float low, high;
  int absolute;           // magnitudes in place of weights
  const uint64_t *alive;  // [rows, ceil(columns / 64)] one bit a weight, column i in bit i % 64; NULL: all are
} esp_procedural;

/// A rectangle of a matrix.
typedef struct esp_tile {
  size_t first_row, rows, first_column, columns;
} esp_tile;

/// The live weights of a tile, as a CSR matrix of tile.rows rows whose column indices are those of the whole matrix.
///
/// row_starts [tile.rows + 1]; column_indices and values [tile.rows * tile.columns], of which row_starts[tile.rows]
/// are written. values may be NULL. Cost: 2.5 Philox rounds a weight, 10 a live one where few of a word's 64 live.
void esp_procedural_tile(esp_isa isa, const esp_procedural *w, esp_tile tile, uint64_t *restrict row_starts,
                         uint32_t *restrict column_indices, float *restrict values, int threads);

/// What a weight's score is, of its value w and its gradient g.
typedef enum esp_score {
  ESP_SCORE_MAGNITUDE,  // |w|
  ESP_SCORE_SALIENCY,   // |w g|
  ESP_SCORE_SIGNED      // w g
} esp_score;

/// orders[k] := a number that ascends with the score of connection k times `factor` (not negative). Never 0. NaN
/// without a sign comes after infinity.
///
/// values, gradients, orders [n]; gradients may be NULL for magnitudes.
void esp_score_orders(esp_score rule, const float *restrict values, const float *restrict gradients, float factor,
                      size_t n, uint32_t *restrict orders, int threads);

/// counts[t * 65536 + b] += how many of the orders fall into bucket b, t < threads being a thread's own counters: of
/// all orders by their upper 16 bits where `lower` is 0, else of those whose upper 16 bits are `prefix` by their lower.
void esp_order_histogram(const uint32_t *orders, size_t n, int lower, uint32_t prefix, uint64_t *restrict counts,
                         int threads);

/// Adds all threads' counters to the first one's.
void esp_order_merge(uint64_t *counts, int threads);

/// The place of the first largest of n > 0 orders.
size_t esp_order_largest(const uint32_t *orders, size_t n);

/// selected := the ascending places of orders above `cut`, of the first *ties ones equal to it, and of place `always`
/// (n or more: none), which is not counted among the ties. Takes the ties it uses off *ties. Returns how many it wrote.
size_t esp_order_collect(const uint32_t *orders, size_t n, uint32_t cut, uint64_t *ties, size_t always,
                         uint32_t *restrict selected);

#endif
