#include "dense.h"

void esp_dense_prepare(void) {
  openblas_set_num_threads(1);
}

const char *esp_dense_library(void) {
  return openblas_get_config();
}
