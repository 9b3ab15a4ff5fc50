#include "include/esp_sparse_conv.h"
