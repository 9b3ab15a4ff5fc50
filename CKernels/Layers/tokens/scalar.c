#define ESP_TARGET
#define ESP_VARIANT esp_tokens_scalar
#include "tokens/body.h"
