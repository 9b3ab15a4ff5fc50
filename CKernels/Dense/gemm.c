#include "dense.h"
void esp_dense_gemm(int transpose_a, int transpose_b, size_t m, size_t n, size_t k, const float *a, size_t lda,
                    const float *b, size_t ldb, float *c, int threads) {
  size_t share = esp_ceil_div(esp_ceil_div(m, (size_t)threads), 16) * 16;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; ++t) {
    size_t first = (size_t)t * share;
    if (first >= m) continue;
    esp_sgemm(transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
              esp_min(share, m - first), n, k, transpose_a ? a + first : a + first * lda, lda, b, ldb, 0.0f,
              c + first * n, n);
  }
}
