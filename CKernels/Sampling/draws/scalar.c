#define ESP_TARGET
#define ESP_VARIANT esp_draw_scalar
#include "draws/body.h"
