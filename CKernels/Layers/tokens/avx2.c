#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET ESP_AVX2
#define ESP_VARIANT esp_tokens_avx2
#include "tokens/body.h"
#endif
