#define ESP_TARGET
#define ESP_VARIANT esp_gelu_scalar
#include "activation/body.h"
