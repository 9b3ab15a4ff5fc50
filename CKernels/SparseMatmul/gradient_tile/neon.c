#if defined(__aarch64__)
#include "../../Runtime/vector/neon.h"

#include "body.h"

ESP_TARGET void esp_gradient_tile_columns_neon(const esp_gradient_tile *t, int accumulate, size_t first, size_t last) {
  esp_tile_columns(t, accumulate, first, last);
}
#endif
