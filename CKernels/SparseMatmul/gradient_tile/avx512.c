#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#include "body.h"

ESP_TARGET void esp_gradient_tile_columns_avx512(const esp_gradient_tile *t, int accumulate, size_t first,
                                                 size_t last) {
  if (t->lanes == 8) {
    esp_gradient_tile_columns_avx2(t, accumulate, first, last);
  } else {
    esp_tile_columns(t, accumulate, first, last);
  }
}
#endif
