#define ESP_TARGET
#define ESP_VARIANT esp_field_scalar
#include "field/body.h"
