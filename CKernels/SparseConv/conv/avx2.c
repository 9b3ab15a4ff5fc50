#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"

#include "body.h"

ESP_TARGET void esp_conv_compute_avx2(const esp_conv_outputs *outputs, const esp_conv_list *list,
                                      const esp_conv_tile *tile) {
  size_t p = 0;
  const float *const *in = tile->in;
  float *const *out = tile->out;
  if (tile->floats == 32) {
    for (; p + 3 <= tile->points; p += 3) compute_points(3, 4, outputs, list, in + p, out + p);
    for (; p + 2 <= tile->points; p += 2) compute_points(2, 4, outputs, list, in + p, out + p);
    for (; p < tile->points; p++) compute_points(1, 4, outputs, list, in + p, out + p);
  } else if (tile->floats == 16) {
    for (; p + 4 <= tile->points; p += 4) compute_points(4, 2, outputs, list, in + p, out + p);
    for (; p < tile->points; p++) compute_points(1, 2, outputs, list, in + p, out + p);
  } else {
    for (; p + 8 <= tile->points; p += 8) compute_points(8, 1, outputs, list, in + p, out + p);
    for (; p + 2 <= tile->points; p += 2) compute_points(2, 1, outputs, list, in + p, out + p);
    for (; p < tile->points; p++) compute_points(1, 1, outputs, list, in + p, out + p);
  }
}
#endif
