#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#include "body.h"

ESP_TARGET void esp_conv_sddmm_connections_avx512(const esp_conv_sddmm_tile *tile, uint64_t first, uint64_t last,
                                                  float *restrict g) {
  tile_connections_of_length(8, tile, first, last, g);
}
#endif
