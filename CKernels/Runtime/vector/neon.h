#ifndef ESP_VECTOR_H
#define ESP_VECTOR_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

/// A kernel's words for vectors, with NEON, which every 64-bit ARM processor has: see also avx2.h and avx512.h, which
/// define the same.
#define ESP_TARGET
#define ESP_VEC ESP_TARGET __attribute__((always_inline)) static inline

/// Floats in a vector.
enum { esp_vec_floats = 4, esp_vec_registers = 32 };
typedef float32x4_t esp_vec;

ESP_VEC esp_vec esp_vec_zero(void) {
  return vdupq_n_f32(0);
}

ESP_VEC esp_vec esp_vec_set(float x) {
  return vdupq_n_f32(x);
}

ESP_VEC esp_vec esp_vec_load(const float *p) {
  return vld1q_f32(p);
}

/// The first `count` floats, fewer than a vector's, and zeros: touches no others.
ESP_VEC esp_vec esp_vec_load_first(const float *p, size_t count) {
  float elements[esp_vec_floats] = {0};
  for (size_t i = 0; i < count; i++) elements[i] = p[i];
  return vld1q_f32(elements);
}

ESP_VEC void esp_vec_store(float *p, esp_vec v) {
  vst1q_f32(p, v);
}

/// The same as a store: what goes past the caches on x86.
ESP_VEC void esp_vec_stream(float *p, esp_vec v) {
  vst1q_f32(p, v);
}

ESP_VEC void esp_vec_fence(void) {}

ESP_VEC esp_vec esp_vec_add(esp_vec a, esp_vec b) {
  return vaddq_f32(a, b);
}

ESP_VEC esp_vec esp_vec_mul(esp_vec a, esp_vec b) {
  return vmulq_f32(a, b);
}

/// Asks for p's cache line, to be read soon.
ESP_VEC void esp_vec_prefetch(const float *p) {
  __builtin_prefetch(p);
}

/// a * b + c, rounded once.
ESP_VEC esp_vec esp_vec_fma(esp_vec a, esp_vec b, esp_vec c) {
  return vfmaq_f32(c, a, b);
}

/// Element i of the result is base[indices[i]].
ESP_VEC esp_vec esp_vec_gather(const float *base, const uint32_t *indices) {
  const float elements[4] = {base[indices[0]], base[indices[1]], base[indices[2]], base[indices[3]]};
  return vld1q_f32(elements);
}

/// The sum of v's elements.
ESP_VEC float esp_vec_sum(esp_vec v) {
  return vaddvq_f32(v);
}

/// Element i of the result is the sum of v[i]'s elements, (v0 + v1) + (v2 + v3) for every i: a sum does not depend on
/// the slot it is taken in.
ESP_VEC esp_vec esp_vec_reduce(const esp_vec v[esp_vec_floats]) {
  return vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3]));
}

/// Element j of v[i] and element i of v[j] change places.
ESP_VEC void esp_vec_transpose(esp_vec v[esp_vec_floats]) {
  const float32x4x2_t a = vtrnq_f32(v[0], v[1]), b = vtrnq_f32(v[2], v[3]);
  v[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  v[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  v[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  v[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
