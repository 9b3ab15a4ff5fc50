#define ESP_TARGET
#define ESP_VARIANT esp_optimizer_scalar
#include "optimizer/body.h"
