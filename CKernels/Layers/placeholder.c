#include "include/esp_layers.h"
