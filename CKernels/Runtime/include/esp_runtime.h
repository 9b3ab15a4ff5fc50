#ifndef ESP_RUNTIME_H
#define ESP_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/// Instruction sets that kernels have variants for, in ascending order of preference on one architecture.
typedef enum esp_isa {
  ESP_ISA_SCALAR = 0,
  ESP_ISA_AVX2 = 1,    // x86-64 with AVX2 and FMA
  ESP_ISA_AVX512 = 2,  // x86-64 with AVX-512 F, VL, BW and DQ
  ESP_ISA_NEON = 3,    // 64-bit ARM
  ESP_ISA_COUNT = 4
} esp_isa;

/// A table of variants by instruction set. Those of another architecture stay null, and are never asked for.
#if defined(__x86_64__)
#define ESP_VARIANTS(scalar, avx2, avx512, neon) \
  { [ESP_ISA_SCALAR] = scalar, [ESP_ISA_AVX2] = avx2, [ESP_ISA_AVX512] = avx512 }
#elif defined(__aarch64__)
#define ESP_VARIANTS(scalar, avx2, avx512, neon) \
  { [ESP_ISA_SCALAR] = scalar, [ESP_ISA_NEON] = neon }
#else
#define ESP_VARIANTS(scalar, avx2, avx512, neon) \
  { [ESP_ISA_SCALAR] = scalar }
#endif

/// The best instruction set that this processor runs.
esp_isa esp_isa_best(void);

/// 1 where this processor runs `isa`, else 0.
int esp_isa_available(esp_isa isa);

/// The name that ESPALIER_ISA takes: "scalar", "avx2", "avx512", "neon"; NULL for a value out of range.
const char *esp_isa_name(esp_isa isa);

/// First index of part `part` of `parts` equal parts of [0, n). Part p covers [esp_part(n, p, parts), esp_part(n, p +
/// 1, parts)).
static inline size_t esp_part(size_t n, size_t part, size_t parts) {
  return n / parts * part + (n % parts * part) / parts;
}

/// Number of processors that this process may run on (its affinity mask).
int esp_processor_count(void);

/// OpenMP's version macro (_OPENMP) that the kernels were compiled with.
int esp_openmp_version(void);

/// Number of threads that a parallel region of `threads` threads really gets.
int esp_threads_granted(int threads);

#endif
