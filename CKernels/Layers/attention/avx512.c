#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#define ROWS 4
#define COLUMNS 6
#define ESP_VARIANT esp_attention_avx512
#include "attention/body.h"
#endif
