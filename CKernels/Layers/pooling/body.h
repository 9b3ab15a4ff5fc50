#include "pooling/average.h"
#include "pooling/max.h"

const esp_pooling ESP_VARIANT = {max_forward,      max_backward,      average_forward, average_backward,
                                 adaptive_forward, adaptive_backward, global_forward,  global_backward};
