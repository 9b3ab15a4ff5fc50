#define ESP_TARGET
#define ESP_VARIANT esp_layer_norm_scalar
#include "layer_norm/body.h"
