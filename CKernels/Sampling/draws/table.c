#include "draws/draws.h"

esp_draw *esp_draw_best(void) {
  static esp_draw *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(esp_draw_scalar, esp_draw_avx2, esp_draw_avx2, esp_draw_scalar);
  return table[esp_isa_best()];
}
