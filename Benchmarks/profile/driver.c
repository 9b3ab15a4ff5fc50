// Runs one linear kernel of a random layer some times: what profile.py counts. One thread.
//
// usage: driver KERNEL ISA UNITS DENSITY BATCH REPETITIONS, KERNEL one of reads, spmm, sddmm, backward, permute,
// sgemm. `reads` does nothing but load and add up the inputs that spmm takes, in its order.
//
// Prints the connections and the seconds of the fastest repetition.
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "esp_sparse_matmul.h"

void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int threads);

enum { lanes = 32, row_major = 101, no_transposition = 111 };

static uint64_t state = 88172645463325252u;

static double uniform(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (double)(state >> 11) * 0x1p-53;
}

/// Columns without a connection before the next one.
static double gap(double density) {
  return floor(log(1 - uniform()) / log1p(-density));
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *zeros(size_t bytes) {
  const size_t page = (size_t)1 << 21, whole = (bytes + page - 1) / page * page;
  void *memory = aligned_alloc(page, whole);
  if (!memory) exit(1);
  madvise(memory, whole, MADV_HUGEPAGE);
  return memset(memory, 0, whole);
}

typedef float vector __attribute__((vector_size(32)));

/// Loads each connection's inputs, 128 bytes a block, and adds them up: what no product by rows can do without.
__attribute__((target("avx2"))) static float read_inputs(const esp_csr *w, size_t blocks, const float *x) {
  vector sums[4] = {0};
  for (size_t b = 0; b < blocks; b++) {
    for (uint64_t k = 0; k < w->row_starts[w->rows]; k++) {
      const vector *input = (const vector *)(x + (b * w->columns + w->column_indices[k]) * lanes);
      for (int v = 0; v < 4; v++) sums[v] += input[v];
    }
  }
  const vector sum = sums[0] + sums[1] + sums[2] + sums[3];
  return sum[0];
}

/// The tiles that training would lay out.
static void lay_out_tiles(esp_csr *w) {
  const esp_csr_tiles tiles = esp_csr_choose_tiles(w->rows, w->columns, w->row_starts[w->rows]);
  if (tiles.columns == 0) return;
  esp_csr_segment *segments = zeros(esp_csr_segment_count(w, tiles) * sizeof *segments);
  esp_csr_fill_segments(w, tiles, segments, 1);
  w->tiles = (esp_csr_tiles){tiles.columns, tiles.rows, segments};
}

int main(int argc, char **argv) {
  if (argc != 7) return 64;
  const char *kernel = argv[1];
  const esp_isa isa = (esp_isa)atoi(argv[2]);
  const size_t n = strtoul(argv[3], NULL, 10), batch = strtoul(argv[5], NULL, 10), blocks = batch / lanes;
  const double density = atof(argv[4]);
  const int repetitions = atoi(argv[6]), dense = strcmp(kernel, "sgemm") == 0;
  openblas_set_num_threads(1);

  const size_t most = (size_t)(density * (double)(n * n) * 1.2) + 1000;
  uint64_t *starts = zeros((n + 1) * sizeof *starts), *starts_t = zeros((n + 1) * sizeof *starts_t), nnz = 0;
  uint32_t *columns = zeros(most * sizeof *columns), *columns_t = zeros(most * sizeof *columns_t);
  uint32_t *permutation = zeros(most * sizeof *permutation);
  float *values = zeros(most * sizeof *values), *g = zeros(most * sizeof *g);
  for (size_t o = 0; o < n; o++) {
    for (double c = gap(density); c < (double)n && nnz < most; c += 1 + gap(density)) columns[nnz++] = (uint32_t)c;
    starts[o + 1] = nnz;
  }
  esp_csr w = {.rows = n, .columns = n, .row_starts = starts, .column_indices = columns};
  esp_csr_transpose(&w, 1, starts_t, columns_t, permutation);
  const esp_csr transposed = {.rows = n, .columns = n, .row_starts = starts_t, .column_indices = columns_t};
  lay_out_tiles(&w);
  float *x = zeros(n * batch * sizeof *x), *d = zeros(n * batch * sizeof *d), *y = zeros(n * batch * sizeof *y);
  float *all = dense ? zeros(n * n * sizeof *all) : NULL;

  double fastest = 1e9;
  for (int i = 0; i < repetitions; i++) {
    const double start = now();
    if (strcmp(kernel, "reads") == 0) {
      y[0] += read_inputs(&w, blocks, x);
    } else if (strcmp(kernel, "spmm") == 0) {
      esp_spmm_f32(isa, &w, values, NULL, blocks, lanes, x, y, 1);
    } else if (strcmp(kernel, "sddmm") == 0) {
      esp_sddmm_f32(isa, &w, blocks, lanes, x, d, g, 1);
    } else if (strcmp(kernel, "backward") == 0) {
      esp_linear_backward_f32(isa, &transposed, values, blocks, lanes, x, d, NULL, y, 0, g, 1);
    } else if (strcmp(kernel, "permute") == 0) {
      esp_permute_f32(values, permutation, nnz, g, 1);
    } else if (dense) {
      cblas_sgemm(row_major, no_transposition, no_transposition, (int)n, (int)batch, (int)n, 1, all, (int)n, x,
                  (int)batch, 0, y, (int)batch);
    } else {
      return 64;
    }
    const double seconds = now() - start;
    if (seconds < fastest) fastest = seconds;
  }
  printf("%llu %.9f\n", (unsigned long long)nnz, fastest);
  return 0;
}
