#ifndef ESP_VECTOR_H
#define ESP_VECTOR_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/// A kernel's words for vectors, with AVX2 and FMA: see also avx512.h and neon.h, which define the same.
#define ESP_TARGET __attribute__((target("avx2,fma")))
#define ESP_VEC ESP_TARGET __attribute__((always_inline)) static inline

/// Floats in a vector.
enum { esp_vec_floats = 8, esp_vec_registers = 16 };
typedef __m256 esp_vec;

ESP_VEC esp_vec esp_vec_zero(void) {
  return _mm256_setzero_ps();
}

ESP_VEC esp_vec esp_vec_set(float x) {
  return _mm256_set1_ps(x);
}

ESP_VEC esp_vec esp_vec_load(const float *p) {
  return _mm256_loadu_ps(p);
}

/// The first `count` floats, fewer than a vector's, and zeros: touches no others.
ESP_VEC esp_vec esp_vec_load_first(const float *p, size_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane));
}

ESP_VEC void esp_vec_store(float *p, esp_vec v) {
  _mm256_storeu_ps(p, v);
}

/// Writes past the caches, to an aligned address; a fence (esp_vec_fence) orders it before later writes.
ESP_VEC void esp_vec_stream(float *p, esp_vec v) {
  _mm256_stream_ps(p, v);
}

ESP_VEC void esp_vec_fence(void) {
  _mm_sfence();
}

ESP_VEC esp_vec esp_vec_add(esp_vec a, esp_vec b) {
  return _mm256_add_ps(a, b);
}

ESP_VEC esp_vec esp_vec_mul(esp_vec a, esp_vec b) {
  return _mm256_mul_ps(a, b);
}

/// Asks for p's cache line, to be read soon.
ESP_VEC void esp_vec_prefetch(const float *p) {
  _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/// a * b + c, rounded once.
ESP_VEC esp_vec esp_vec_fma(esp_vec a, esp_vec b, esp_vec c) {
  return _mm256_fmadd_ps(a, b, c);
}

/// Element i of the result is base[indices[i]].
ESP_VEC esp_vec esp_vec_gather(const float *base, const uint32_t *indices) {
  // As 64-bit offsets: the instruction takes 32-bit ones for signed.
  const __m128i low = _mm_loadu_si128((const __m128i *)indices), high = _mm_loadu_si128((const __m128i *)indices + 1);
  return _mm256_set_m128(_mm256_i64gather_ps(base, _mm256_cvtepu32_epi64(high), 4),
                         _mm256_i64gather_ps(base, _mm256_cvtepu32_epi64(low), 4));
}

/// The sum of v's elements.
ESP_VEC float esp_vec_sum(esp_vec v) {
  const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

/// Element i of the result is the sum of v[i]'s elements, ((v0 + v2) + (v1 + v3)) + ((v4 + v6) + (v5 + v7)) for every
/// i: a sum does not depend on the slot it is taken in.
ESP_VEC esp_vec esp_vec_reduce(const esp_vec v[esp_vec_floats]) {
  __m256 pairs[4];
  for (int i = 0; i < 4; i++) {
    const __m256 a = v[2 * i], b = v[2 * i + 1];
    pairs[i] = _mm256_add_ps(_mm256_blend_ps(a, b, 0xCC), _mm256_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 3, 2)));
  }
  __m256 halves[2];
  for (int i = 0; i < 2; i++) {
    const __m256 a = pairs[2 * i], b = pairs[2 * i + 1];
    halves[i] = _mm256_add_ps(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)),
                              _mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
  }
  return _mm256_add_ps(_mm256_blend_ps(halves[0], halves[1], 0xF0), _mm256_permute2f128_ps(halves[0], halves[1], 0x21));
}

/// Element j of v[i] and element i of v[j] change places.
ESP_VEC void esp_vec_transpose(esp_vec v[esp_vec_floats]) {
  __m256 fours[8];
  for (int i = 0; i < 8; i += 4) {  // within halves: half h of fours[i + j] is rows i ... i + 3 of column 4h + j
    const __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(v[i], v[i + 1]));
    const __m256d b = _mm256_castps_pd(_mm256_unpackhi_ps(v[i], v[i + 1]));
    const __m256d c = _mm256_castps_pd(_mm256_unpacklo_ps(v[i + 2], v[i + 3]));
    const __m256d d = _mm256_castps_pd(_mm256_unpackhi_ps(v[i + 2], v[i + 3]));
    fours[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, c));
    fours[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, c));
    fours[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(b, d));
    fours[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(b, d));
  }
  for (int j = 0; j < 4; j++) {
    v[j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x20);
    v[4 + j] = _mm256_permute2f128_ps(fours[j], fours[4 + j], 0x31);
  }
}

#endif
