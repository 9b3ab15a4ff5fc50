#if defined(__aarch64__)
#include "../../Runtime/vector/neon.h"

#define ROWS 6
#define COLUMNS 4
#define ESP_VARIANT esp_attention_neon
#include "attention/body.h"
#endif
