#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET ESP_AVX2
#define ESP_VARIANT esp_gelu_avx2
#include "activation/body.h"
#endif
