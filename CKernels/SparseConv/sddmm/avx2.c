#include "conv_sddmm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "../../SparseMatmul/reduce_avx2.h"
#include "../divide.h"

#define ESP_AVX2 __attribute__((target("avx2,fma")))
#define ESP_INLINE ESP_AVX2 static inline __attribute__((always_inline))
#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Windows kept for a kernel of at most this many taps; of a larger kernel they are made for each connection.
enum { kept_windows = 64 };

/// D and X of one connection: `rows` rows of `width` positions.
typedef struct window_data {
  const float *d, *x;
  size_t rows, width, d_row, x_row, x_step;  // floats from row to row, and in X from position to position
} window_data;

/// Lane products of one connection's window, summed over positions and vectors: 8 / vectors neighbouring positions at
/// a time have an accumulator set each, and the last few of a row fill the first sets.
ESP_INLINE __m256 window_products(const size_t vectors, const window_data *window) {
  const size_t lanes = 8 * vectors, sets = 8 / vectors;
  __m256 sum[8];
  ESP_UNROLL for (size_t i = 0; i < 8; i++) sum[i] = _mm256_setzero_ps();
  for (size_t row = 0; row < window->rows; row++) {
    const float *d = window->d + row * window->d_row, *x = window->x + row * window->x_row;
    size_t j = 0;
    for (; j + sets <= window->width; j += sets, d += sets * lanes, x += sets * window->x_step) {
      ESP_UNROLL for (size_t i = 0; i < 8; i++) {
        const __m256 input = _mm256_loadu_ps(x + i / vectors * window->x_step + i % vectors * 8);
        sum[i] = _mm256_fmadd_ps(_mm256_loadu_ps(d + 8 * i), input, sum[i]);
      }
    }
    ESP_UNROLL for (size_t s = 0; s + 1 < sets; s++) {
      if (j + s >= window->width) break;
      ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
        const __m256 input = _mm256_loadu_ps(x + s * window->x_step + 8 * v);
        sum[s * vectors + v] = _mm256_fmadd_ps(_mm256_loadu_ps(d + s * lanes + 8 * v), input, sum[s * vectors + v]);
      }
    }
  }
  ESP_UNROLL for (size_t width = 4; width >= 1; width /= 2) {
    ESP_UNROLL for (size_t i = 0; i < width; i++) sum[i] = _mm256_add_ps(sum[i], sum[i + width]);
  }
  return sum[0];
}

/// Lane products for lanes = 1: with stride 1 eight positions of a row are a vector; the last few of a row, and all
/// positions with a larger stride, go to the first element.
ESP_AVX2 static __m256 single_products(const window_data *window) {
  __m256 sum = _mm256_setzero_ps();
  float rest = 0;
  for (size_t row = 0; row < window->rows; row++) {
    const float *d = window->d + row * window->d_row, *x = window->x + row * window->x_row;
    size_t j = 0;
    if (window->x_step == 1) {
      for (; j + 8 <= window->width; j += 8) {
        sum = _mm256_fmadd_ps(_mm256_loadu_ps(d + j), _mm256_loadu_ps(x + j), sum);
      }
    }
    for (; j < window->width; j++) rest = __builtin_fmaf(d[j], x[j * window->x_step], rest);
  }
  return _mm256_add_ps(sum, _mm256_set_ps(0, 0, 0, 0, 0, 0, 0, rest));
}

/// Where the connections' D and X lie, within one block and band.
typedef struct locator {
  const esp_csr *pattern;
  const esp_conv_shape *shape;
  size_t lanes, first_row, last_row, taps;
  const float *x, *d;
  esp_divider by_taps, by_width;
  esp_tap_window windows[kept_windows];
} locator;

ESP_AVX2 static void locator_init(locator *at) {
  const esp_conv_shape *shape = at->shape;
  at->taps = shape->kernel_height * shape->kernel_width;
  at->by_taps = esp_divider_make((uint32_t)at->taps);
  at->by_width = esp_divider_make((uint32_t)shape->kernel_width);
  for (size_t tap = 0; tap < at->taps && tap < kept_windows; tap++) {
    at->windows[tap] =
        esp_tap_window_make(shape, tap / shape->kernel_width, tap % shape->kernel_width, at->first_row, at->last_row);
  }
}

ESP_INLINE window_data locate(const locator *at, size_t o, uint64_t k) {
  const esp_conv_shape *shape = at->shape;
  const uint32_t column = at->pattern->column_indices[k], c = esp_divide(column, at->by_taps);
  const uint32_t tap = column - c * (uint32_t)at->taps, ky = esp_divide(tap, at->by_width);
  const uint32_t kx = tap - ky * (uint32_t)shape->kernel_width;
  const esp_tap_window window =
      tap < kept_windows ? at->windows[tap] : esp_tap_window_make(shape, ky, kx, at->first_row, at->last_row);
  if (window.top >= window.bottom || window.left >= window.right) return (window_data){0};
  const size_t in_i = window.top * shape->stride + ky - shape->pad_top;
  const size_t in_j = window.left * shape->stride + kx - shape->pad_left;
  return (window_data){
      .d = at->d + ((o * shape->out_height + window.top) * shape->out_width + window.left) * at->lanes,
      .x = at->x + ((c * shape->in_height + in_i) * shape->in_width + in_j) * at->lanes,
      .rows = window.bottom - window.top,
      .width = window.right - window.left,
      .d_row = shape->out_width * at->lanes,
      .x_row = shape->stride * shape->in_width * at->lanes,
      .x_step = shape->stride * at->lanes,
  };
}

/// Connections for lanes = 8 * vectors, or 1 where vectors = 0; their products are reduced eight connections at a time.
ESP_INLINE void connections_of_vectors(const size_t vectors, const locator *at, int accumulate, float *restrict g,
                                       uint64_t first, uint64_t last) {
  const uint64_t *row_starts = at->pattern->row_starts;
  size_t o = esp_csr_row_of(at->pattern, first);
  for (uint64_t k = first; k < last; k += 8) {
    const size_t count = last - k < 8 ? last - k : 8;
    __m256 group[8];
    for (size_t i = count; i < 8; i++) group[i] = _mm256_setzero_ps();
    for (size_t i = 0; i < count; i++) {
      while (k + i >= row_starts[o + 1]) o++;
      const window_data window = locate(at, o, k + i);
      group[i] = vectors ? window_products(vectors ? vectors : 1, &window) : single_products(&window);
    }
    float sum[8];
    _mm256_storeu_ps(sum, esp_reduce_eight(group));
    for (size_t i = 0; i < count; i++) g[k + i] = accumulate ? g[k + i] + sum[i] : sum[i];
  }
}

ESP_AVX2 void esp_conv_sddmm_connections_avx2(const esp_csr *pattern, const esp_conv_shape *shape, size_t lanes,
                                              size_t first_row, size_t last_row, const float *restrict x,
                                              const float *restrict d, int accumulate, float *restrict g,
                                              uint64_t first, uint64_t last) {
  if (first == last) return;
  locator at = {.pattern = pattern, .shape = shape, .lanes = lanes, .first_row = first_row, .last_row = last_row};
  at.x = x;
  at.d = d;
  locator_init(&at);
  switch (lanes) {
    case 32:
      connections_of_vectors(4, &at, accumulate, g, first, last);
      break;
    case 16:
      connections_of_vectors(2, &at, accumulate, g, first, last);
      break;
    case 8:
      connections_of_vectors(1, &at, accumulate, g, first, last);
      break;
    default:
      connections_of_vectors(0, &at, accumulate, g, first, last);
  }
}
#endif
