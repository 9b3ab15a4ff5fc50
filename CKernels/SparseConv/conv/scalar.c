#include "conv.h"

void esp_conv_compute_scalar(const esp_conv_outputs *outputs, const esp_conv_list *list, const esp_conv_tile *tile) {
  for (size_t o = outputs->first; o < outputs->last; o++) {
    const esp_conv_channel channel = esp_conv_channel_of(list, o);
    for (size_t p = 0; p < tile->points; p++) {
      float sum[32];
      for (size_t l = 0; l < tile->floats; l++) sum[l] = outputs->bias ? outputs->bias[o] : 0;
      for (size_t i = 0; i < channel.count; i++) {
        const esp_conv_entry entry = channel.entries[channel.indices ? channel.indices[i] : i];
        const float *input = tile->in[p] + entry.offset;
        for (size_t l = 0; l < tile->floats; l++) sum[l] += entry.value * input[l];
      }
      float *output = tile->out[p] + o * outputs->plane;
      const float *base = outputs->base ? esp_conv_base_of(outputs, output) : NULL;
      for (size_t l = 0; l < tile->floats; l++) output[l] = base ? sum[l] + base[l] : sum[l];
    }
  }
}
