#define ESP_TARGET
#define ESP_VARIANT esp_packing_scalar
#include "packing/body.h"
