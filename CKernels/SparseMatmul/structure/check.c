#include "../include/esp_sparse_matmul.h"

/// Row starts come first, as a whole: only then is it safe to follow them into the column indices.
esp_csr_status esp_csr_check(const esp_csr *w, size_t *row) {
  if (w->columns > (uint64_t)UINT32_MAX + 1) {
    *row = 0;
    return ESP_CSR_TOO_MANY;
  }
  if (w->row_starts[0] != 0) {
    *row = 0;
    return ESP_CSR_BAD_ROW_STARTS;
  }
  for (size_t o = 0; o < w->rows; o++) {
    const int descends = w->row_starts[o + 1] < w->row_starts[o];
    if (!descends && w->row_starts[o + 1] < UINT32_MAX) continue;
    *row = o;
    return descends ? ESP_CSR_BAD_ROW_STARTS : ESP_CSR_TOO_MANY;
  }
  for (size_t o = 0; o < w->rows; o++) {
    for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
      const int inside = w->column_indices[k] < w->columns;
      const int ascending = k == w->row_starts[o] || w->column_indices[k - 1] < w->column_indices[k];
      if (inside && ascending) continue;
      *row = o;
      return inside ? ESP_CSR_COLUMNS_NOT_ASCENDING : ESP_CSR_COLUMN_OUT_OF_RANGE;
    }
  }
  return ESP_CSR_OK;
}

size_t esp_csr_row_of(const esp_csr *w, uint64_t k) {
  size_t low = 0, high = w->rows;  // row_starts[low] <= k < row_starts[high]
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    if (w->row_starts[middle] <= k) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

size_t esp_csr_first_row(const esp_csr *w, size_t part, size_t parts) {
  if (part == 0 || part == parts) return part == 0 ? 0 : w->rows;
  const uint64_t target = esp_part(w->row_starts[w->rows] + w->rows, part, parts);
  size_t low = 0, high = w->rows;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (w->row_starts[middle] + middle < target) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
