#if defined(__aarch64__)
#include "../../Runtime/vector/neon.h"

#define ROWS 4
#define COLUMNS 6
#define ESP_VARIANT esp_attention_neon
#include "attention/body.h"
#endif
