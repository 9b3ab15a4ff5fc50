#define ESP_TARGET
#define ESP_VARIANT esp_pooling_scalar
#include "pooling/body.h"
