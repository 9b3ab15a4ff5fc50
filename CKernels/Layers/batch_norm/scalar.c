#define ESP_TARGET
#define ESP_VARIANT esp_batch_norm_kernels_scalar
#include "batch_norm/body.h"
