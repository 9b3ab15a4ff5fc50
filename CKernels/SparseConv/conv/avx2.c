#include "conv.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ESP_AVX2 __attribute__((target("avx2,fma")))
#define ESP_INLINE ESP_AVX2 static inline __attribute__((always_inline))
#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// The output channels to compute, and how far apart their planes lie.
typedef struct outputs {
  const esp_conv_call *call;
  size_t first, last, plane;
} outputs;

/// Every output channel at `tiles` neighbouring tiles, each of `positions` positions of 8 * vectors floats; positions
/// are `step` floats apart in the input and adjacent in the output.
///
/// Channels run outside a few tiles, so that a channel's connections are read once and the branch at their end is
/// predicted, but inside a row, so that the little input below the tiles stays in the first-level cache. Each element
/// adds its connections in column order.
ESP_INLINE void channels_of_tiles(const size_t positions, const size_t vectors, const size_t step, const size_t tiles,
                                  const outputs *out, const float *restrict input, float *restrict y) {
  const esp_csr *w = out->call->w;
  const float *values = out->call->values, *bias = out->call->bias;
  const uint32_t *offsets = out->call->offsets;
  const size_t floats = positions * vectors * 8;
  for (size_t o = out->first; o < out->last; o++) {
    const uint64_t start = w->row_starts[o], end = w->row_starts[o + 1];
    for (size_t t = 0; t < tiles; t++) {
      __m256 sum[8];
      ESP_UNROLL for (size_t i = 0; i < positions * vectors; i++) sum[i] = _mm256_set1_ps(bias ? bias[o] : 0);
      for (uint64_t k = start; k < end; k++) {
        const __m256 weight = _mm256_broadcast_ss(values + k);
        const float *from = input + t * positions * step + offsets[k];
        ESP_UNROLL for (size_t p = 0; p < positions; p++) {
          ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
            const size_t i = p * vectors + v;
            sum[i] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(from + p * step + 8 * v), sum[i]);
          }
        }
      }
      float *to = y + o * out->plane + t * floats;
      ESP_UNROLL for (size_t i = 0; i < positions * vectors; i++) _mm256_storeu_ps(to + 8 * i, sum[i]);
    }
  }
}

/// One output element of every channel, for lanes = 1.
ESP_AVX2 static void single(const outputs *out, const float *restrict input, float *restrict y) {
  const esp_conv_call *call = out->call;
  for (size_t o = out->first; o < out->last; o++) {
    float sum = call->bias ? call->bias[o] : 0;
    for (uint64_t k = call->w->row_starts[o]; k < call->w->row_starts[o + 1]; k++) {
      sum = __builtin_fmaf(call->values[k], input[call->offsets[k]], sum);
    }
    y[o * out->plane] = sum;
  }
}

/// A row of outputs with stride 1: `length` contiguous floats, whatever the lanes.
ESP_AVX2 static void contiguous_row(const outputs *out, size_t length, const float *restrict input, float *restrict y) {
  size_t i = 0;
  for (; i + 256 <= length; i += 256) channels_of_tiles(2, 4, 32, 4, out, input + i, y + i);
  for (; i + 64 <= length; i += 64) channels_of_tiles(2, 4, 32, 1, out, input + i, y + i);
  for (; i + 32 <= length; i += 32) channels_of_tiles(1, 4, 0, 1, out, input + i, y + i);
  for (; i + 8 <= length; i += 8) channels_of_tiles(1, 1, 0, 1, out, input + i, y + i);
  for (; i < length; i++) single(out, input + i, y + i);
}

/// A row of `width` outputs with any stride, lanes = 8 * vectors; eight vectors at a time.
ESP_INLINE void strided_row(const size_t vectors, const outputs *out, size_t width, size_t stride,
                            const float *restrict input, float *restrict y) {
  const size_t lanes = 8 * vectors, step = stride * lanes, positions = 8 / vectors;
  size_t j = 0;
  for (; j + 4 * positions <= width; j += 4 * positions) {
    channels_of_tiles(positions, vectors, step, 4, out, input + j * step, y + j * lanes);
  }
  for (; j + positions <= width; j += positions) {
    channels_of_tiles(positions, vectors, step, 1, out, input + j * step, y + j * lanes);
  }
  for (; j < width; j++) channels_of_tiles(1, vectors, step, 1, out, input + j * step, y + j * lanes);
}

ESP_AVX2 void esp_conv_band_outputs_avx2(const esp_conv_call *call, const float *restrict band, size_t rows,
                                         float *restrict y, size_t first, size_t last) {
  const esp_conv_shape *shape = call->shape;
  const size_t lanes = call->plan.lanes, width = shape->out_width, stride = shape->stride;
  const outputs out = {call, first, last, shape->out_height * width * lanes};
  for (size_t i = 0; i < rows; i++) {
    const float *input = band + i * stride * call->plan.row;
    float *output = y + i * width * lanes;
    if (stride == 1) {
      contiguous_row(&out, width * lanes, input, output);
    } else if (lanes == 32) {
      strided_row(4, &out, width, stride, input, output);
    } else if (lanes == 16) {
      strided_row(2, &out, width, stride, input, output);
    } else if (lanes == 8) {
      strided_row(1, &out, width, stride, input, output);
    } else {
      for (size_t j = 0; j < width; j++) single(&out, input + j * stride, output + j);
    }
  }
}
#endif
