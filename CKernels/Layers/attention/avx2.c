#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"

#define ROWS 2
#define COLUMNS 6
#define ESP_VARIANT esp_attention_avx2
#include "attention/body.h"
#endif
