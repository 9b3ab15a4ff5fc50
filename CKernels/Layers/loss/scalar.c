#define ESP_TARGET
#define ESP_VARIANT esp_loss_scalar
#include "loss/body.h"
