#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET ESP_AVX512
#define ESP_VARIANT esp_batch_norm_kernels_avx512
#include "batch_norm/body.h"
#endif
