#if defined(__x86_64__)
#include "../../Runtime/vector/avx512.h"

#define ROWS 6
#define COLUMNS 4
#define ESP_VARIANT esp_attention_avx512
#include "attention/body.h"
#endif
