#include "include/esp_sparse_matmul.h"
