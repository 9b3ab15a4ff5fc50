#if defined(__x86_64__)
#define ESP_TARGET __attribute__((target("avx2")))
#define ESP_VARIANT esp_resampler_avx2
#include "resample_body.h"
#endif
