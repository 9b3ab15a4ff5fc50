#if defined(__x86_64__)
#include "../../Runtime/vector/avx2.h"

#include "body.h"

ESP_TARGET void esp_linear_backward_rows_avx2(const esp_linear_backward_task *task, size_t first, size_t last) {
  switch (task->lanes) {
    case 32:
      esp_linear_backward_vectors(4, *task, first, last);
      break;
    case 16:
      esp_linear_backward_vectors(2, *task, first, last);
      break;
    case 8:
      esp_linear_backward_vectors(1, *task, first, last);
      break;
    default:
      esp_linear_backward_singles(*task, first, last);
  }
}
#endif
