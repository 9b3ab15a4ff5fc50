#define ESP_TARGET
#define ESP_VARIANT esp_resampler_scalar
#include "resample_body.h"
