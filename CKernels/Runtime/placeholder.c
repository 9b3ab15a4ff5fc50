#include "include/esp_runtime.h"
