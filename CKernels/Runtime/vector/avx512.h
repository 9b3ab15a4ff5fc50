#ifndef ESP_VECTOR_H
#define ESP_VECTOR_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/// A kernel's words for vectors, with AVX-512 (F, VL, BW and DQ): see also avx2.h and neon.h, which define the same.
#define ESP_TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#define ESP_VEC ESP_TARGET __attribute__((always_inline)) static inline

/// Floats in a vector.
enum { esp_vec_floats = 16, esp_vec_registers = 32 };
typedef __m512 esp_vec;

ESP_VEC esp_vec esp_vec_zero(void) {
  return _mm512_setzero_ps();
}

ESP_VEC esp_vec esp_vec_set(float x) {
  return _mm512_set1_ps(x);
}

ESP_VEC esp_vec esp_vec_load(const float *p) {
  return _mm512_loadu_ps(p);
}

/// The first `count` floats, fewer than a vector's, and zeros: touches no others.
ESP_VEC esp_vec esp_vec_load_first(const float *p, size_t count) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
}

ESP_VEC void esp_vec_store(float *p, esp_vec v) {
  _mm512_storeu_ps(p, v);
}

/// Writes past the caches, to an aligned address; a fence (esp_vec_fence) orders it before later writes.
ESP_VEC void esp_vec_stream(float *p, esp_vec v) {
  _mm512_stream_ps(p, v);
}

ESP_VEC void esp_vec_fence(void) {
  _mm_sfence();
}

ESP_VEC esp_vec esp_vec_add(esp_vec a, esp_vec b) {
  return _mm512_add_ps(a, b);
}

ESP_VEC esp_vec esp_vec_mul(esp_vec a, esp_vec b) {
  return _mm512_mul_ps(a, b);
}

/// Asks for p's cache line, to be read soon.
ESP_VEC void esp_vec_prefetch(const float *p) {
  _mm_prefetch((const char *)p, _MM_HINT_T0);
}

/// a * b + c, rounded once.
ESP_VEC esp_vec esp_vec_fma(esp_vec a, esp_vec b, esp_vec c) {
  return _mm512_fmadd_ps(a, b, c);
}

/// Element i of the result is base[indices[i]].
ESP_VEC esp_vec esp_vec_gather(const float *base, const uint32_t *indices) {
  // As 64-bit offsets: the instruction takes 32-bit ones for signed.
  const __m512i low = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)indices));
  const __m512i high = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)indices + 1));
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_i64gather_ps(low, base, 4)),
                            _mm512_i64gather_ps(high, base, 4), 1);
}

/// The sum of v's elements.
ESP_VEC float esp_vec_sum(esp_vec v) {
  return _mm512_reduce_add_ps(v);
}

/// The numbers a, b, c, d of the quarters that a quarter of the result is made of: two of `x`, two of `y`.
#define ESP_QUARTERS(x, y, a, b, c, d) _mm512_shuffle_f32x4(x, y, _MM_SHUFFLE(d, c, b, a))

/// Element i of the result is the sum of v[i]'s elements, by one tree for every i: a sum does not depend on the slot it
/// is taken in.
ESP_VEC esp_vec esp_vec_reduce(const esp_vec v[esp_vec_floats]) {
  __m512 pairs[8];
  for (int i = 0; i < 8; i++) {
    const __m512 a = v[2 * i], b = v[2 * i + 1];
    pairs[i] = _mm512_add_ps(_mm512_mask_blend_ps(0xCCCC, a, b), _mm512_shuffle_ps(a, b, _MM_SHUFFLE(1, 0, 3, 2)));
  }
  __m512 fours[4];
  for (int i = 0; i < 4; i++) {
    const __m512 a = pairs[2 * i], b = pairs[2 * i + 1];
    fours[i] = _mm512_add_ps(_mm512_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)),
                             _mm512_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
  }
  __m512 halves[2];
  for (int i = 0; i < 2; i++) {
    const __m512 a = fours[2 * i], b = fours[2 * i + 1];
    halves[i] = _mm512_add_ps(ESP_QUARTERS(a, b, 0, 1, 0, 1), ESP_QUARTERS(a, b, 2, 3, 2, 3));
  }
  return _mm512_add_ps(ESP_QUARTERS(halves[0], halves[1], 0, 2, 0, 2), ESP_QUARTERS(halves[0], halves[1], 1, 3, 1, 3));
}

/// Element j of v[i] and element i of v[j] change places.
ESP_VEC void esp_vec_transpose(esp_vec v[esp_vec_floats]) {
  __m512 fours[16];
  for (int i = 0; i < 16; i += 4) {  // within quarters: quarter q of fours[i + j] is rows i ... i + 3 of column 4q + j
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
    const __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(v[i + 2], v[i + 3]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(v[i + 2], v[i + 3]));
    fours[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
    fours[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
    fours[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
    fours[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
  }
  for (int j = 0; j < 4; j++) {
    const __m512 a = ESP_QUARTERS(fours[j], fours[4 + j], 0, 1, 0, 1);
    const __m512 b = ESP_QUARTERS(fours[j], fours[4 + j], 2, 3, 2, 3);
    const __m512 c = ESP_QUARTERS(fours[8 + j], fours[12 + j], 0, 1, 0, 1);
    const __m512 d = ESP_QUARTERS(fours[8 + j], fours[12 + j], 2, 3, 2, 3);
    v[j] = ESP_QUARTERS(a, c, 0, 2, 0, 2);
    v[4 + j] = ESP_QUARTERS(a, c, 1, 3, 1, 3);
    v[8 + j] = ESP_QUARTERS(b, d, 0, 2, 0, 2);
    v[12 + j] = ESP_QUARTERS(b, d, 1, 3, 1, 3);
  }
}

#endif
