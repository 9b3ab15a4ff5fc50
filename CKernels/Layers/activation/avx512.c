#include "variants.h"

#if defined(__x86_64__)
#define ESP_TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define ESP_VARIANT esp_gelu_avx512
#include "activation/body.h"
#endif
