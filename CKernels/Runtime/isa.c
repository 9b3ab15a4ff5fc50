#include "include/esp_runtime.h"

esp_isa esp_isa_best(void) {
  int best = ESP_ISA_SCALAR;
  for (int isa = 0; isa < ESP_ISA_COUNT; isa++) {
    if (esp_isa_available((esp_isa)isa)) best = isa;
  }
  return (esp_isa)best;
}

int esp_isa_available(esp_isa isa) {
  switch (isa) {
    case ESP_ISA_SCALAR:
      return 1;
#if defined(__x86_64__)
    case ESP_ISA_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case ESP_ISA_AVX512:
      return esp_isa_available(ESP_ISA_AVX2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq");
#elif defined(__aarch64__)
    case ESP_ISA_NEON:
      return 1;
#endif
    default:
      return 0;
  }
}

const char *esp_isa_name(esp_isa isa) {
  static const char *const names[ESP_ISA_COUNT] = {
      [ESP_ISA_SCALAR] = "scalar",
      [ESP_ISA_AVX2] = "avx2",
      [ESP_ISA_AVX512] = "avx512",
      [ESP_ISA_NEON] = "neon",
  };
  return (unsigned)isa < ESP_ISA_COUNT ? names[isa] : NULL;
}
