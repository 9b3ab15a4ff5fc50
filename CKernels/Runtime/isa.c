#include "include/esp_runtime.h"

esp_isa esp_isa_best(void) {
  return esp_isa_available(ESP_ISA_AVX2) ? ESP_ISA_AVX2 : ESP_ISA_SCALAR;
}

int esp_isa_available(esp_isa isa) {
  switch (isa) {
    case ESP_ISA_SCALAR:
      return 1;
    case ESP_ISA_AVX2:
#if defined(__x86_64__)
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
      return 0;
#endif
    default:
      return 0;
  }
}

const char *esp_isa_name(esp_isa isa) {
  static const char *const names[ESP_ISA_COUNT] = {[ESP_ISA_SCALAR] = "scalar", [ESP_ISA_AVX2] = "avx2"};
  return (unsigned)isa < ESP_ISA_COUNT ? names[isa] : NULL;
}
