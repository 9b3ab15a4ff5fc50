#include "include/esp_dense.h"
