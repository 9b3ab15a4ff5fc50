#define ESP_TARGET
#define ESP_VARIANT esp_elementwise_scalar
#include "elementwise/body.h"
