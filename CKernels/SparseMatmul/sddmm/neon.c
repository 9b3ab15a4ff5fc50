#if defined(__aarch64__)
#include "../../Runtime/vector/neon.h"

#include "body.h"

ESP_TARGET void esp_sddmm_connections_neon(const esp_csr *pattern, size_t blocks, size_t lanes, const float *restrict x,
                                           const float *restrict d, int accumulate, float *restrict g, uint64_t first,
                                           uint64_t last) {
  switch (lanes) {
    case 32:
      esp_sddmm_vectors(8, *pattern, blocks, x, d, accumulate, g, first, last);
      break;
    case 16:
      esp_sddmm_vectors(4, *pattern, blocks, x, d, accumulate, g, first, last);
      break;
    case 8:
      esp_sddmm_vectors(2, *pattern, blocks, x, d, accumulate, g, first, last);
      break;
    default:
      esp_sddmm_singles(*pattern, blocks, x, d, accumulate, g, first, last);
  }
}
#endif
