#if defined(__x86_64__)
#define ESP_TARGET __attribute__((target("avx2")))
#define ESP_VARIANT esp_field_avx2
#include "field/body.h"
#endif
