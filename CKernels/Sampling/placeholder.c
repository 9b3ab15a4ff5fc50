#include "include/esp_sampling.h"
