#ifndef ESP_VARIANTS_H
#define ESP_VARIANTS_H

#include <stddef.h>

#include "esp_runtime.h"

/// Every operation here has one body.h, written plainly, that scalar.c and avx2.c compile for their instruction set:
/// ESP_TARGET goes before each function and ESP_VARIANT names the table of functions that the body exports.

#if defined(__x86_64__)
#define ESP_AVX2 __attribute__((target("avx2,fma")))
#define ESP_AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#endif

#define ESP_INLINE static inline __attribute__((always_inline))

/// Defines kernels_of(isa), which picks from the variants of `type` named <type>_scalar and <type>_avx2. These kernels
/// wait for memory: AVX-512 takes AVX2's, and what the compiler makes of the scalar variant for ARM is NEON already.
#define ESP_DEFINE_KERNELS_OF(type)                                               \
  static const type *kernels_of(esp_isa isa) {                                    \
    static const type *const table[ESP_ISA_COUNT] =                               \
        ESP_VARIANTS(&type##_scalar, &type##_avx2, &type##_avx2, &type##_scalar); \
    return table[isa];                                                            \
  }

/// Blocks that hold `samples` samples.
static inline size_t esp_block_count(size_t samples, size_t lanes) {
  return (samples + lanes - 1) / lanes;
}

/// How many of block b's lanes are real.
static inline size_t esp_real_lanes(size_t samples, size_t lanes, size_t block) {
  const size_t left = samples - block * lanes;
  return left < lanes ? left : lanes;
}

#endif
