#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#include "body.h"

ESP_TARGET void esp_spmm_rows_avx512(const esp_csr *w, const float *values, const float *bias, size_t blocks,
                                     size_t lanes, const float *restrict x, float *restrict y, size_t first,
                                     size_t last) {
  switch (lanes) {
    case 32:
      esp_spmm_vectors(2, w, values, bias, blocks, x, y, first, last);
      break;
    case 16:
      esp_spmm_vectors(1, w, values, bias, blocks, x, y, first, last);
      break;
    case 8:
      esp_spmm_rows_avx2(w, values, bias, blocks, lanes, x, y, first, last);
      break;
    default:
      esp_spmm_singles(w, values, bias, blocks, x, y, first, last);
  }
}
#endif
