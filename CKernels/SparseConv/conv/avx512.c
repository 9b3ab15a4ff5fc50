#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#include "body.h"

#define POINTS(n)                                                                                         \
  ESP_TARGET static void points_##n(const esp_conv_outputs *outputs, const esp_conv_list *list,           \
                                    const esp_conv_tile *tile, size_t p) {                                \
    if (tile->floats == 32) {                                                                             \
      compute_points(n, 2, outputs, list, tile->in + p, tile->out + p);                                   \
    } else {                                                                                              \
      compute_points(n, 1, outputs, list, tile->in + p, tile->out + p);                                   \
    }                                                                                                     \
  }
POINTS(8)
POINTS(4)
POINTS(2)
POINTS(1)

ESP_TARGET void esp_conv_compute_avx512(const esp_conv_outputs *outputs, const esp_conv_list *list,
                                        const esp_conv_tile *tile) {
  if (tile->floats == 8) {
    esp_conv_compute_avx2(outputs, list, tile);
    return;
  }
  for (size_t p = 0; p < tile->points;) {
    const size_t left = tile->points - p;
    if (left >= 8) points_8(outputs, list, tile, p), p += 8;
    else if (left >= 4) points_4(outputs, list, tile, p), p += 4;
    else if (left >= 2) points_2(outputs, list, tile, p), p += 2;
    else points_1(outputs, list, tile, p), p += 1;
  }
}
#endif
