#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"

#include "body.h"

ESP_TARGET void esp_gradient_tile_columns_avx2(const esp_gradient_tile *t, int accumulate, size_t first, size_t last) {
  esp_tile_columns(t, accumulate, first, last);
}
#endif
