#include <assert.h>
#include <math.h>

#include "esp_procedural.h"
#include "random/philox.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/// Turns a stream's words into numbers of [low, high), as esp_random_uniform_f32 does.
typedef struct uniform {
  float low, range, last;
  int absolute;
} uniform;

static uniform make_uniform(const esp_procedural *w) {
  uniform u = {w->low, w->high - w->low, w->low < w->high ? nextafterf(w->high, w->low) : w->low, w->absolute};
  return u;
}

static inline float number(uniform u, uint32_t word) {
  const float value = u.low + u.range * ((float)(word >> 8) * 0x1p-24f);
  const float bounded = value < u.last ? value : u.last;
  return u.absolute ? fabsf(bounded) : bounded;
}

typedef void fill_numbers(esp_random_key key, uniform u, uint64_t first, size_t n, float *restrict out);

/// out := numbers first ..< first + n of the stream.
static void fill_scalar(esp_random_key key, uniform u, uint64_t first, size_t n, float *restrict out) {
  for (size_t i = 0; i < n;) {
    const philox_block b = random_block(key, (first + i) / 4);
    const uint32_t words[4] = {b.c0, b.c1, b.c2, b.c3};
    for (size_t k = (first + i) % 4; k < 4 && i < n; k++, i++) out[i] = number(u, words[k]);
  }
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2")))

/// The upper and the lower halves of eight products of 32 bits.
AVX2 static inline void multiply(__m256i a, __m256i factor, __m256i *high, __m256i *low) {
  const __m256i even = _mm256_mul_epu32(a, factor), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), factor);
  *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  *low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/// Eight blocks from number `block` on, which must not cross a multiple of 2^32; word w of block b in element b of
/// c[w].
AVX2 static inline void eight_blocks(esp_random_key key, uint64_t block, __m256i c[4]) {
  const __m256i m0 = _mm256_set1_epi32((int)0xD2511F53u), m1 = _mm256_set1_epi32((int)0xCD9E8D57u);
  uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
  c[0] = _mm256_add_epi32(_mm256_set1_epi32((int)(uint32_t)block), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  c[1] = _mm256_set1_epi32((int)(uint32_t)(block >> 32));
  c[2] = _mm256_set1_epi32((int)key.step);
  c[3] = _mm256_set1_epi32((int)key.stream);
  for (int round = 0; round < 10; round++) {
    __m256i high0, low0, high1, low1;
    multiply(c[0], m0, &high0, &low0);
    multiply(c[2], m1, &high1, &low1);
    c[0] = _mm256_xor_si256(_mm256_xor_si256(high1, c[1]), _mm256_set1_epi32((int)k0));
    c[1] = low1;
    c[2] = _mm256_xor_si256(_mm256_xor_si256(high0, c[3]), _mm256_set1_epi32((int)k1));
    c[3] = low0;
    k0 += PHILOX_STEP_0;
    k1 += PHILOX_STEP_1;
  }
}

/// As fill_scalar, to the bit (products and sums apart, without FMA).
AVX2 static void fill_avx2(esp_random_key key, uniform u, uint64_t first, size_t n, float *restrict out) {
  const size_t head = (4 - first % 4) % 4 < n ? (4 - first % 4) % 4 : n;
  fill_scalar(key, u, first, head, out);
  const __m256 low = _mm256_set1_ps(u.low), range = _mm256_set1_ps(u.range), last = _mm256_set1_ps(u.last);
  const __m256 unit = _mm256_set1_ps(0x1p-24f), sign = _mm256_set1_ps(u.absolute ? -0.0f : 0.0f);
  size_t i = head;
  for (; i + 32 <= n; i += 32) {
    const uint64_t block = (first + i) / 4;
    if ((uint32_t)block > UINT32_MAX - 7) {
      fill_scalar(key, u, first + i, 32, out + i);
      continue;
    }
    __m256i c[4];
    __m256 v[4];
    eight_blocks(key, block, c);
    for (int w = 0; w < 4; w++) {
      const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(c[w], 8)), unit);
      v[w] = _mm256_andnot_ps(sign, _mm256_min_ps(_mm256_add_ps(low, _mm256_mul_ps(range, x)), last));
    }
    // From words by blocks to blocks by words.
    const __m256 a = _mm256_unpacklo_ps(v[0], v[1]), b = _mm256_unpackhi_ps(v[0], v[1]);
    const __m256 d = _mm256_unpacklo_ps(v[2], v[3]), e = _mm256_unpackhi_ps(v[2], v[3]);
    const __m256 r0 = _mm256_shuffle_ps(a, d, 0x44), r1 = _mm256_shuffle_ps(a, d, 0xEE);
    const __m256 r2 = _mm256_shuffle_ps(b, e, 0x44), r3 = _mm256_shuffle_ps(b, e, 0xEE);
    _mm256_storeu_ps(out + i, _mm256_permute2f128_ps(r0, r1, 0x20));
    _mm256_storeu_ps(out + i + 8, _mm256_permute2f128_ps(r2, r3, 0x20));
    _mm256_storeu_ps(out + i + 16, _mm256_permute2f128_ps(r0, r1, 0x31));
    _mm256_storeu_ps(out + i + 24, _mm256_permute2f128_ps(r2, r3, 0x31));
  }
  fill_scalar(key, u, first + i, n - i, out + i);
}
#endif

static fill_numbers *const variants[ESP_ISA_COUNT] = ESP_VARIANTS(fill_scalar, fill_avx2, fill_avx2, fill_scalar);

/// Bits first ..< first + count (count <= 64, within one word) of a row.
static inline uint64_t live_bits(const uint64_t *row, size_t first, size_t count) {
  const uint64_t bits = row[first / 64] >> first % 64;
  return count < 64 ? bits & (((uint64_t)1 << count) - 1) : bits;
}

static size_t count_live(const uint64_t *row, size_t first, size_t end) {
  size_t live = 0;
  for (size_t i = first; i < end;) {
    const size_t next = i / 64 * 64 + 64, stop = next < end ? next : end;
    live += (size_t)__builtin_popcountll(live_bits(row, i, stop - i));
    i = stop;
  }
  return live;
}

enum { WORD = 64, MANY = 12 };

/// The weights of a word's live bits, from column `first` on: each by itself, a block of the stream once for those that
/// share it.
static void few_live(const esp_procedural *w, uniform u, uint64_t bits, uint64_t first, float *restrict values) {
  uint64_t known = UINT64_MAX;
  uint32_t words[4] = {0, 0, 0, 0};
  size_t k = 0;
  for (; bits != 0; bits &= bits - 1) {
    const uint64_t index = first + (uint64_t)__builtin_ctzll(bits);
    if (index / 4 != known) {
      const philox_block b = random_block(w->key, known = index / 4);
      words[0] = b.c0, words[1] = b.c1, words[2] = b.c2, words[3] = b.c3;
    }
    values[k++] = number(u, words[index % 4]);
  }
}

/// One row's live weights; where many of a word live, all of them are computed.
static void live_row(fill_numbers *fill, const esp_procedural *w, uniform u, size_t row, esp_tile tile,
                     uint32_t *restrict indices, float *restrict values) {
  const uint64_t *alive = w->alive + row * ((w->columns + WORD - 1) / WORD);
  const size_t end = tile.first_column + tile.columns;
  float all[WORD];
  size_t k = 0;
  for (size_t i = tile.first_column; i < end;) {
    const size_t next = i / WORD * WORD + WORD, stop = next < end ? next : end;
    const uint64_t live = live_bits(alive, i, stop - i), first = (uint64_t)row * w->columns + i;
    const int many = values && __builtin_popcountll(live) >= MANY;
    if (many) fill(w->key, u, first, stop - i, all);
    if (values && !many) few_live(w, u, live, first, values + k);
    for (uint64_t bits = live; bits != 0; bits &= bits - 1, k++) {
      const size_t place = (size_t)__builtin_ctzll(bits);
      indices[k] = (uint32_t)(i + place);
      if (many) values[k] = all[place];
    }
    i = stop;
  }
}

void esp_procedural_tile(esp_isa isa, const esp_procedural *w, esp_tile tile, uint64_t *restrict row_starts,
                         uint32_t *restrict column_indices, float *restrict values, int threads) {
  assert(esp_isa_available(isa));
  assert(tile.first_row + tile.rows <= w->rows && tile.first_column + tile.columns <= w->columns);
  const uniform u = make_uniform(w);
  const size_t words = (w->columns + 63) / 64, end = tile.first_column + tile.columns;
  row_starts[0] = 0;
  for (size_t r = 0; r < tile.rows; r++) {
    const size_t live =
        w->alive ? count_live(w->alive + (tile.first_row + r) * words, tile.first_column, end) : tile.columns;
    row_starts[r + 1] = row_starts[r] + live;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (size_t r = 0; r < tile.rows; r++) {
    const size_t row = tile.first_row + r;
    uint32_t *restrict indices = column_indices + row_starts[r];
    float *restrict out = values ? values + row_starts[r] : NULL;
    if (w->alive) {
      live_row(variants[isa], w, u, row, tile, indices, out);
      continue;
    }
    for (size_t i = 0; i < tile.columns; i++) indices[i] = (uint32_t)(tile.first_column + i);
    if (out) variants[isa](w->key, u, (uint64_t)row * w->columns + tile.first_column, tile.columns, out);
  }
}
