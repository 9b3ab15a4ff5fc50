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
typedef void pick_numbers(esp_random_key key, uniform u, const uint64_t *restrict which, size_t n, float *restrict out);

enum { PICKS = 64 };  // numbers picked at a time

/// out := numbers first ..< first + n of the stream.
static void fill_scalar(esp_random_key key, uniform u, uint64_t first, size_t n, float *restrict out) {
  for (size_t i = 0; i < n;) {
    const philox_block b = random_block(key, (first + i) / 4);
    const uint32_t words[4] = {b.c0, b.c1, b.c2, b.c3};
    for (size_t k = (first + i) % 4; k < 4 && i < n; k++, i++) out[i] = number(u, words[k]);
  }
}

/// out[i] := number which[i] of the stream, i < n; `which` ascends. A block of the stream once for those that share it.
static void pick_scalar(esp_random_key key, uniform u, const uint64_t *restrict which, size_t n, float *restrict out) {
  uint64_t known = UINT64_MAX;
  uint32_t words[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < n; i++) {
    if (which[i] / 4 != known) {
      const philox_block b = random_block(key, known = which[i] / 4);
      words[0] = b.c0, words[1] = b.c1, words[2] = b.c2, words[3] = b.c3;
    }
    out[i] = number(u, words[which[i] % 4]);
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

/// The lower halves of eight numbers of 64 bits, in order, in halves[0]; the upper ones in halves[1].
AVX2 static inline void split_halves(__m256i first, __m256i last, __m256i halves[2]) {
  const __m256 a = _mm256_castsi256_ps(first), b = _mm256_castsi256_ps(last);
  halves[0] = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), 0xD8);
  halves[1] = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)), 0xD8);
}

/// Eight blocks, the halves of whose numbers are in c[0] and c[1]; word w of block b to element b of c[w].
AVX2 static inline void eight_blocks(esp_random_key key, __m256i c[4]) {
  const __m256i m0 = _mm256_set1_epi32((int)0xD2511F53u), m1 = _mm256_set1_epi32((int)0xCD9E8D57u);
  uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
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

/// As number, to the bit (products and sums apart, without FMA).
AVX2 static inline __m256 eight_numbers(uniform u, __m256i words) {
  const __m256 low = _mm256_set1_ps(u.low), range = _mm256_set1_ps(u.range), last = _mm256_set1_ps(u.last);
  const __m256 unit = _mm256_set1_ps(0x1p-24f), sign = _mm256_set1_ps(u.absolute ? -0.0f : 0.0f);
  const __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(words, 8)), unit);
  return _mm256_andnot_ps(sign, _mm256_min_ps(_mm256_add_ps(low, _mm256_mul_ps(range, x)), last));
}

/// As fill_scalar, to the bit.
AVX2 static void fill_avx2(esp_random_key key, uniform u, uint64_t first, size_t n, float *restrict out) {
  const size_t head = (4 - first % 4) % 4 < n ? (4 - first % 4) % 4 : n;
  fill_scalar(key, u, first, head, out);
  size_t i = head;
  for (; i + 32 <= n; i += 32) {
    const uint64_t block = (first + i) / 4;
    if ((uint32_t)block > UINT32_MAX - 7) {
      fill_scalar(key, u, first + i, 32, out + i);
      continue;
    }
    __m256i c[4];
    __m256 v[4];
    c[0] = _mm256_add_epi32(_mm256_set1_epi32((int)(uint32_t)block), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    c[1] = _mm256_set1_epi32((int)(uint32_t)(block >> 32));
    eight_blocks(key, c);
    for (int w = 0; w < 4; w++) v[w] = eight_numbers(u, c[w]);
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

/// As pick_scalar, to the bit: a block for each number, eight at a time.
AVX2 static void pick_avx2(esp_random_key key, uniform u, const uint64_t *restrict which, size_t n,
                           float *restrict out) {
  for (size_t i = 0; i < n; i += 8) {
    uint64_t padded[8];
    float numbers[8];
    const size_t count = n - i < 8 ? n - i : 8;
    for (size_t k = 0; k < 8; k++) padded[k] = which[i + (k < count ? k : 0)];
    const __m256i low = _mm256_loadu_si256((const __m256i *)padded);
    const __m256i high = _mm256_loadu_si256((const __m256i *)(padded + 4));
    __m256i c[4];
    split_halves(_mm256_srli_epi64(low, 2), _mm256_srli_epi64(high, 2), c);
    __m256i word[2];
    split_halves(low, high, word);
    word[0] = _mm256_and_si256(word[0], _mm256_set1_epi32(3));
    eight_blocks(key, c);
    __m256i words = c[0];
    for (int w = 1; w < 4; w++) {
      words = _mm256_blendv_epi8(words, c[w], _mm256_cmpeq_epi32(word[0], _mm256_set1_epi32(w)));
    }
    _mm256_storeu_ps(count < 8 ? numbers : out + i, eight_numbers(u, words));
    for (size_t k = 0; count < 8 && k < count; k++) out[i + k] = numbers[k];
  }
}
#endif

static fill_numbers *const fills[ESP_ISA_COUNT] = ESP_VARIANTS(fill_scalar, fill_avx2, fill_avx2, fill_scalar);
static pick_numbers *const picks[ESP_ISA_COUNT] = ESP_VARIANTS(pick_scalar, pick_avx2, pick_avx2, pick_scalar);

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

/// From MANY live numbers on, all blocks of a word, four numbers each, are as cheap as a block for each that lives.
enum { WORD = 64, MANY = 16 };
_Static_assert(MANY <= PICKS, "what is picked of a word fits");

/// Numbers of the stream that are due, for values[0] and on; those of several rows together.
typedef struct picking {
  uint64_t which[PICKS];
  size_t count;
  float *values;
} picking;

static void pick_due(pick_numbers *pick, const esp_procedural *w, uniform u, picking *due) {
  pick(w->key, u, due->which, due->count, due->values);
  due->values += due->count;
  due->count = 0;
}

/// The live weights of rows [from, to) of the tile; where many of a word live, all of them are computed.
static void live_rows(esp_isa isa, const esp_procedural *w, uniform u, esp_tile tile, size_t from, size_t to,
                      uint32_t *restrict indices, float *restrict values) {
  const size_t words = (w->columns + WORD - 1) / WORD, end = tile.first_column + tile.columns;
  picking due = {.count = 0, .values = values};
  float all[WORD];
  for (size_t row = tile.first_row + from; row < tile.first_row + to; row++) {
    for (size_t i = tile.first_column; i < end;) {
      const size_t next = i / WORD * WORD + WORD, stop = next < end ? next : end;
      const uint64_t live = live_bits(w->alive + row * words, i, stop - i), first = (uint64_t)row * w->columns + i;
      const size_t count = (size_t)__builtin_popcountll(live);
      const int many = values && count >= MANY, few = values && !many;
      if (values && (many || due.count + count > PICKS)) pick_due(picks[isa], w, u, &due);
      if (many) fills[isa](w->key, u, first, stop - i, all);
      for (uint64_t bits = live; bits != 0; bits &= bits - 1) {
        const size_t place = (size_t)__builtin_ctzll(bits);
        *indices++ = (uint32_t)(i + place);
        if (many) *due.values++ = all[place];
        if (few) due.which[due.count++] = first + place;
      }
      i = stop;
    }
  }
  if (values) pick_due(picks[isa], w, u, &due);
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
  for (int part = 0; part < threads; part++) {
    const size_t from = esp_part(tile.rows, part, threads), to = esp_part(tile.rows, part + 1, threads);
    uint32_t *restrict indices = column_indices + row_starts[from];
    float *restrict out = values ? values + row_starts[from] : NULL;
    if (w->alive) {
      live_rows(isa, w, u, tile, from, to, indices, out);
      continue;
    }
    for (size_t r = from; r < to; r++, indices += tile.columns) {
      for (size_t i = 0; i < tile.columns; i++) indices[i] = (uint32_t)(tile.first_column + i);
      if (!values) continue;
      const uint64_t first = (uint64_t)(tile.first_row + r) * w->columns + tile.first_column;
      fills[isa](w->key, u, first, tile.columns, out + (r - from) * tile.columns);
    }
  }
}
