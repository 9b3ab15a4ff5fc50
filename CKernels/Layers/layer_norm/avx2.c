#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET ESP_AVX2
#define ESP_VARIANT esp_layer_norm_avx2
#include "layer_norm/body.h"
#endif
