#include "conv.h"

#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"
#include "body.h"

ESP_TARGET void esp_conv_compute_avx2(const esp_conv_outputs *outputs, const esp_conv_list *list,
                                      const esp_conv_tile *tile) {
  if (tile->floats == 32) {
    compute_tile(2, 4, outputs, list, tile);
  } else if (tile->floats == 16) {
    compute_tile(4, 2, outputs, list, tile);
  } else {
    compute_tile(8, 1, outputs, list, tile);
  }
}
#endif
