#include "conv.h"

#if defined(__aarch64__)
#include "../../Runtime/vector/neon.h"
#include "body.h"

ESP_TARGET void esp_conv_compute_neon(const esp_conv_outputs *outputs, const esp_conv_list *list,
                                      const esp_conv_tile *tile) {
  if (tile->floats == 32) {
    compute_tile(2, 8, outputs, list, tile);
  } else if (tile->floats == 16) {
    compute_tile(4, 4, outputs, list, tile);
  } else {
    compute_tile(8, 2, outputs, list, tile);
  }
}
#endif
