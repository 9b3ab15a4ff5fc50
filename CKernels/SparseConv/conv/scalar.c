#include "conv.h"

void esp_conv_band_outputs_scalar(const esp_conv_call *call, const float *restrict band, size_t rows, float *restrict y,
                                  size_t first, size_t last) {
  const esp_csr *w = call->w;
  const esp_conv_shape *shape = call->shape;
  const size_t lanes = call->plan.lanes;
  for (size_t o = first; o < last; o++) {
    for (size_t i = 0; i < rows; i++) {
      for (size_t j = 0; j < shape->out_width; j++) {
        const float *corner = band + i * shape->stride * call->plan.row + j * shape->stride * lanes;
        float *output = y + ((o * shape->out_height + i) * shape->out_width + j) * lanes;
        float sum[32];
        for (size_t l = 0; l < lanes; l++) sum[l] = call->bias ? call->bias[o] : 0;
        for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
          const float *input = corner + call->offsets[k];
          for (size_t l = 0; l < lanes; l++) sum[l] += call->values[k] * input[l];
        }
        for (size_t l = 0; l < lanes; l++) output[l] = sum[l];
      }
    }
  }
}
