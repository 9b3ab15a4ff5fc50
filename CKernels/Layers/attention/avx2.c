#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"

#define ROWS 6
#define COLUMNS 2
#define ESP_VARIANT esp_attention_avx2
#include "attention/body.h"
#endif
