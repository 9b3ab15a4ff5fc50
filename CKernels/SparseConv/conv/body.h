#include "conv.h"

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Every output of `points` points of `vectors` vectors each, channel after channel.
ESP_VEC void compute_points(const size_t points, const size_t vectors, const esp_conv_outputs *outputs,
                            const esp_conv_list *list, const float *const *restrict in, float *const *restrict out) {
  const esp_conv_entry *entry = list->entries + list->starts[outputs->first];
  for (size_t o = outputs->first; o < outputs->last; o++) {
    const esp_conv_entry *const end = list->entries + list->starts[o + 1];
    esp_vec sum[16];
    const esp_vec bias = esp_vec_set(outputs->bias ? outputs->bias[o] : 0);
    ESP_UNROLL for (size_t i = 0; i < points * vectors; i++) sum[i] = bias;
    for (; entry < end; entry++) {
      const esp_vec weight = esp_vec_set(entry->value);
      const size_t offset = entry->offset;
      ESP_UNROLL for (size_t p = 0; p < points; p++) {
        ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
          const size_t i = p * vectors + v;
          sum[i] = esp_vec_fma(weight, esp_vec_load(in[p] + offset + v * esp_vec_floats), sum[i]);
        }
      }
    }
    ESP_UNROLL for (size_t p = 0; p < points; p++) {
      ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
        esp_vec_store(out[p] + o * outputs->plane + v * esp_vec_floats, sum[p * vectors + v]);
      }
    }
  }
}
