#if defined(__x86_64__)
#define ESP_TARGET __attribute__((target("avx2")))
#define ESP_VARIANT esp_draw_avx2
#include "draws/body.h"
#endif
