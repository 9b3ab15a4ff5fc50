#include "conv.h"

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

/// Adds one connection to the sums of some points.
ESP_VEC void add_connection(const size_t points, const size_t vectors, const esp_conv_entry *entry,
                            const float *const *in, esp_vec *sum) {
  const esp_vec weight = esp_vec_set(entry->value);
  const size_t offset = entry->offset;
  ESP_UNROLL for (size_t p = 0; p < points; p++) {
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const size_t i = p * vectors + v;
      sum[i] = esp_vec_fma(weight, esp_vec_load(in[p] + offset + v * esp_vec_floats), sum[i]);
    }
  }
}

/// Adds some points' base in channel o to the bias, and asks for that in the next channel.
ESP_VEC void load_base(const size_t points, const size_t vectors, const esp_conv_outputs *outputs, size_t o,
                       float *const *out, esp_vec bias, esp_vec *sum) {
  const size_t next = o + 1 < outputs->last ? outputs->plane : 0;
  ESP_UNROLL for (size_t p = 0; p < points; p++) {
    const float *base = esp_conv_base_of(outputs, out[p] + o * outputs->plane);
    ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
      const float *from = base + v * esp_vec_floats;
      sum[p * vectors + v] = esp_vec_add(bias, esp_vec_load(from));
      esp_vec_prefetch(from + next);
    }
  }
}

/// Every output of `groups` groups of `points` points of `vectors` vectors each, channel after channel: a channel's
/// groups read its connections from the first-level cache, and the branch at their end is predicted.
ESP_VEC void compute_points(const size_t points, const size_t vectors, const int stream, const int indexed,
                            const size_t groups, const esp_conv_outputs *outputs, const esp_conv_list *list,
                            const float *const *restrict ins, float *const *restrict outs) {
  for (size_t o = outputs->first; o < outputs->last; o++) {
    const esp_conv_channel channel = esp_conv_channel_of(list, o);
    const esp_vec bias = esp_vec_set(outputs->bias ? outputs->bias[o] : 0);
    for (size_t g = 0; g < groups; g++) {
      const float *const *in = ins + g * points;
      float *const *out = outs + g * points;
      esp_vec sum[16];
      ESP_UNROLL for (size_t i = 0; i < points * vectors; i++) sum[i] = bias;
      if (outputs->base) load_base(points, vectors, outputs, o, out, bias, sum);
      if (indexed) {
        const uint16_t *const end = channel.indices + channel.count;
        for (const uint16_t *i = channel.indices; i < end; i++) {
          add_connection(points, vectors, channel.entries + *i, in, sum);
        }
      } else {
        const esp_conv_entry *const end = channel.entries + channel.count;
        for (const esp_conv_entry *entry = channel.entries; entry < end; entry++) {
          add_connection(points, vectors, entry, in, sum);
        }
      }
      ESP_UNROLL for (size_t p = 0; p < points; p++) {
        ESP_UNROLL for (size_t v = 0; v < vectors; v++) {
          float *to = out[p] + o * outputs->plane + v * esp_vec_floats;
          if (stream) {
            esp_vec_stream(to, sum[p * vectors + v]);
          } else {
            esp_vec_store(to, sum[p * vectors + v]);
          }
        }
      }
    }
  }
}

/// As many groups of the tile's points from p on as there are. Returns the first point that is left.
ESP_VEC size_t compute_groups(const size_t points, const size_t vectors, const esp_conv_outputs *outputs,
                              const esp_conv_list *list, const esp_conv_tile *tile, size_t p) {
  const size_t groups = (tile->points - p) / points;
  if (groups == 0) return p;
  const float *const *in = tile->in + p;
  float *const *out = tile->out + p;
  const int stream = vectors * esp_vec_floats == 32 && outputs->streams;
  if (list->counts) {
    if (stream) compute_points(points, vectors, 1, 1, groups, outputs, list, in, out);
    if (!stream) compute_points(points, vectors, 0, 1, groups, outputs, list, in, out);
  } else {
    if (stream) compute_points(points, vectors, 1, 0, groups, outputs, list, in, out);
    if (!stream) compute_points(points, vectors, 0, 0, groups, outputs, list, in, out);
  }
  return p + groups * points;
}

/// A tile with points of `vectors` vectors, at most `points` points, a power of two, at once.
ESP_VEC void compute_tile(const size_t points, const size_t vectors, const esp_conv_outputs *outputs,
                          const esp_conv_list *list, const esp_conv_tile *tile) {
  size_t p = 0;
  if (points >= 8) p = compute_groups(8, vectors, outputs, list, tile, p);
  if (points >= 4) p = compute_groups(4, vectors, outputs, list, tile, p);
  p = compute_groups(2, vectors, outputs, list, tile, p);
  compute_groups(1, vectors, outputs, list, tile, p);
  if (outputs->streams) esp_vec_fence();
}
