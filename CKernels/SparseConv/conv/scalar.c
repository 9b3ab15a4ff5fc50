#include "conv.h"

void esp_conv_compute_scalar(const esp_conv_outputs *outputs, const esp_conv_list *list, const esp_conv_tile *tile) {
  for (size_t o = outputs->first; o < outputs->last; o++) {
    for (size_t p = 0; p < tile->points; p++) {
      float sum[32];
      for (size_t l = 0; l < tile->floats; l++) sum[l] = outputs->bias ? outputs->bias[o] : 0;
      for (size_t k = list->starts[o]; k < list->starts[o + 1]; k++) {
        const esp_conv_entry entry = list->entries[k];
        const float *input = tile->in[p] + entry.offset;
        for (size_t l = 0; l < tile->floats; l++) sum[l] += entry.value * input[l];
      }
      float *output = tile->out[p] + o * outputs->plane;
      for (size_t l = 0; l < tile->floats; l++) output[l] = sum[l];
    }
  }
}
