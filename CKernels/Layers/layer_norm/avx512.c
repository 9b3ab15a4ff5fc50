#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET ESP_AVX512
#define ESP_VARIANT esp_layer_norm_avx512
#include "layer_norm/body.h"
#endif
