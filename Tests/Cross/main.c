/// Every vector variant of the sparse kernels, of attention, token chains and AdamW against plain loops in double,
/// without Swift: what `make test-neon` builds for another architecture and runs under qemu. On the machine itself
/// KernelTests does this and more.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "esp_sparse_conv.h"

static uint64_t state = 17;
static size_t failures, checks;

static double uniform(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 40) / (1 << 24);
}

float *signed_floats(size_t n) {
  float *x = malloc((n + 1) * sizeof *x);
  for (size_t i = 0; i < n; i++) x[i] = (float)(2 * uniform() - 1);
  return x;
}

/// Aligned, so that large outputs are written past the caches.
float *nans(size_t n) {
  float *x = aligned_alloc(64, (n / 16 + 1) * 64);
  for (size_t i = 0; i < n; i++) x[i] = NAN;
  return x;
}

/// A random structure, its rows of very different lengths.
static esp_csr random_csr(size_t rows, size_t columns, double density) {
  uint64_t *starts = calloc(rows + 1, sizeof *starts);
  uint32_t *indices = malloc((rows * columns + 1) * sizeof *indices);
  for (size_t o = 0; o < rows; o++) {
    const double here = density * 2 * uniform();
    starts[o + 1] = starts[o];
    for (size_t c = 0; c < columns; c++) {
      if (uniform() < here) indices[starts[o + 1]++] = (uint32_t)c;
    }
  }
  return (esp_csr){.rows = rows, .columns = columns, .row_starts = starts, .column_indices = indices};
}

static void free_csr(esp_csr w) {
  free((void *)w.row_starts);
  free((void *)w.column_indices);
}

void expect_close(const char *what, esp_isa isa, const float *found, const double *expected, const double *magnitude,
                  size_t n) {
  checks++;
  for (size_t i = 0; i < n; i++) {
    const double bound = 64 * 1.2e-7 * magnitude[i] + 1e-30;
    if (fabs(found[i] - expected[i]) <= bound) continue;
    printf("%s, %s: element %zu is %.9g, expected %.9g\n", what, esp_isa_name(isa), i, found[i], expected[i]);
    failures++;
    return;
  }
}

void expect_same_bits(const char *what, esp_isa isa, const float *a, const float *b, size_t n) {
  checks++;
  if (memcmp(a, b, n * sizeof *a) == 0) return;
  printf("%s, %s: differs with the number of threads\n", what, esp_isa_name(isa));
  failures++;
}

// ---- Linear ---------------------------------------------------------------------------------------------------------

/// The whole gradient, added to numbers that are there, in rows that are longer than it.
static void check_gradient_tile(esp_isa isa, size_t rows, size_t columns, size_t blocks, size_t lanes, const float *x,
                                const float *d) {
  const size_t width = columns + 3, n = rows * width;
  float *one = signed_floats(n), *many = malloc(n * sizeof *many);
  double *g = calloc(n, sizeof *g), *size = calloc(n, sizeof *size);
  memcpy(many, one, n * sizeof *many);
  for (size_t i = 0; i < n; i++) {
    const size_t r = i / width, c = i % width;
    g[i] = one[i];
    size[i] = fabs(g[i]);
    for (size_t b = 0; c < columns && b < blocks; b++) {
      for (size_t l = 0; l < lanes; l++) {
        const double product = (double)d[(b * rows + r) * lanes + l] * x[(b * columns + c) * lanes + l];
        g[i] += product;
        size[i] += fabs(product);
      }
    }
  }
  esp_gradient_tile tile = {rows, columns, blocks, lanes, x, columns, d, rows, one, width};
  esp_gradient_tile_f32(isa, &tile, 1, 1);
  tile.g = many;
  esp_gradient_tile_f32(isa, &tile, 1, 3);
  expect_close("gradient tile", isa, one, g, size, n);
  expect_same_bits("gradient tile", isa, one, many, n);
  void *all[] = {one, many, g, size};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/// Both gradients in one pass, added to what is there.
static void check_linear_backward(esp_isa isa, const esp_csr *w, const float *values, size_t blocks, size_t lanes,
                                  const float *x, const float *d, const double *g, const double *g_size) {
  const size_t nnz = w->row_starts[w->rows], n = blocks * w->columns * lanes;
  uint64_t *starts = calloc(w->columns + 1, sizeof *starts);
  uint32_t *indices = malloc((nnz + 1) * sizeof *indices), *permutation = malloc((nnz + 1) * sizeof *permutation);
  esp_csr_transpose(w, 1, starts, indices, permutation);
  const esp_csr t = {.rows = w->columns, .columns = w->rows, .row_starts = starts, .column_indices = indices};
  float *back = nans(nnz), *base = signed_floats(n), *one = nans(n), *many = nans(n);
  float *in_order = nans(nnz), *g_one = nans(nnz), *g_many = nans(nnz);
  double *dx = calloc(n + 1, sizeof *dx), *size = calloc(n + 1, sizeof *size);
  for (size_t i = 0; i < n; i++) {
    const size_t b = i / lanes / w->columns, row = i / lanes % w->columns, l = i % lanes;
    dx[i] = base[i];
    size[i] = fabs(base[i]);
    for (uint64_t k = starts[row]; k < starts[row + 1]; k++) {
      const double product = (double)values[permutation[k]] * d[(b * w->rows + indices[k]) * lanes + l];
      dx[i] += product;
      size[i] += fabs(product);
    }
  }
  esp_permute_f32(values, permutation, nnz, back, 1);
  esp_linear_backward_f32(isa, &t, back, blocks, lanes, x, d, base, one, 0, in_order, 1);
  esp_unpermute_f32(in_order, permutation, nnz, g_one, 1);
  esp_linear_backward_f32(isa, &t, back, blocks, lanes, x, d, base, many, 0, in_order, 3);
  esp_unpermute_f32(in_order, permutation, nnz, g_many, 3);
  expect_close("linear backward", isa, one, dx, size, n);
  expect_same_bits("linear backward", isa, one, many, n);
  expect_close("linear backward's weights", isa, g_one, g, g_size, nnz);
  expect_same_bits("linear backward's weights", isa, g_one, g_many, nnz);
  void *all[] = {starts, indices, permutation, back, base, one, many, in_order, g_one, g_many, dx, size};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void check_linear(esp_isa isa, size_t rows, size_t columns, double density, size_t blocks, size_t lanes) {
  const esp_csr w = random_csr(rows, columns, density);
  const size_t nnz = w.row_starts[rows], ny = blocks * rows * lanes;
  float *values = signed_floats(nnz), *bias = signed_floats(rows);
  float *x = signed_floats(blocks * columns * lanes), *d = signed_floats(ny);
  double *y = calloc(ny + 1, sizeof *y), *size = calloc(ny + 1, sizeof *size);
  double *g = calloc(nnz + 1, sizeof *g), *g_size = calloc(nnz + 1, sizeof *g_size);
  for (size_t b = 0; b < blocks; b++) {
    for (size_t o = 0; o < rows; o++) {
      for (size_t l = 0; l < lanes; l++) {
        const size_t to = (b * rows + o) * lanes + l;
        y[to] = bias[o];
        size[to] = fabs(bias[o]);
        for (uint64_t k = w.row_starts[o]; k < w.row_starts[o + 1]; k++) {
          const double input = x[(b * columns + w.column_indices[k]) * lanes + l];
          y[to] += values[k] * input;
          size[to] += fabs(values[k] * input);
          g[k] += d[to] * input;
          g_size[k] += fabs(d[to] * input);
        }
      }
    }
  }
  float *one = nans(ny), *many = nans(ny), *g_one = nans(nnz), *g_many = nans(nnz);
  esp_spmm_f32(isa, &w, values, bias, blocks, lanes, x, one, 1);
  esp_spmm_f32(isa, &w, values, bias, blocks, lanes, x, many, 3);
  expect_close("spmm", isa, one, y, size, ny);
  expect_same_bits("spmm", isa, one, many, ny);
  const esp_csr_tiles tiles = {.columns = 16, .rows = 7};
  esp_csr_segment *segments = calloc(esp_csr_segment_count(&w, tiles) + 1, sizeof *segments);
  esp_csr_fill_segments(&w, tiles, segments, 2);
  esp_csr tiled = w;
  tiled.tiles = (esp_csr_tiles){tiles.columns, tiles.rows, segments};
  esp_spmm_f32(isa, &tiled, values, bias, blocks, lanes, x, many, 3);
  expect_same_bits("spmm in tiles", isa, one, many, ny);
  free(segments);
  esp_sddmm_f32(isa, &w, blocks, lanes, x, d, g_one, 1);
  esp_sddmm_f32(isa, &w, blocks, lanes, x, d, g_many, 3);
  expect_close("sddmm", isa, g_one, g, g_size, nnz);
  expect_same_bits("sddmm", isa, g_one, g_many, nnz);
  check_linear_backward(isa, &w, values, blocks, lanes, x, d, g, g_size);
  check_gradient_tile(isa, rows, columns, blocks, lanes, x, d);
  free_csr(w);
  void *all[] = {values, bias, x, d, y, size, g, g_size, one, many, g_one, g_many};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// ---- Convolution ----------------------------------------------------------------------------------------------------

/// What a convolution's forward, input gradient and weight gradient are, and the sums of their terms' sizes.
typedef struct conv_oracle {
  double *y, *y_size, *dx, *dx_size, *g, *g_size;
} conv_oracle;

static conv_oracle conv_loops(const esp_csr *w, const float *values, const float *bias, const esp_conv_shape *s,
                              size_t blocks, size_t lanes, const float *x, const float *d) {
  const size_t nx = blocks * s->in_channels * s->in_height * s->in_width * lanes;
  const size_t ny = blocks * s->out_channels * s->out_height * s->out_width * lanes, nnz = w->row_starts[w->rows];
  conv_oracle r = {calloc(ny + 1, 8), calloc(ny + 1, 8),  calloc(nx + 1, 8),
                   calloc(nx + 1, 8), calloc(nnz + 1, 8), calloc(nnz + 1, 8)};
  const size_t taps = s->kernel_height * s->kernel_width;
  for (size_t to = 0; to < ny; to++) {
    const size_t l = to % lanes, j = to / lanes % s->out_width, i = to / lanes / s->out_width % s->out_height;
    const size_t o = to / lanes / s->out_width / s->out_height % s->out_channels;
    const size_t b = to / lanes / s->out_width / s->out_height / s->out_channels;
    r.y[to] = bias[o];
    r.y_size[to] = fabs(bias[o]);
    for (uint64_t k = w->row_starts[o]; k < w->row_starts[o + 1]; k++) {
      const size_t c = w->column_indices[k] / taps, tap = w->column_indices[k] % taps;
      const size_t row = i * s->stride + tap / s->kernel_width, column = j * s->stride + tap % s->kernel_width;
      if (row < s->pad_top || row - s->pad_top >= s->in_height) continue;
      if (column < s->pad_left || column - s->pad_left >= s->in_width) continue;
      const size_t line = (b * s->in_channels + c) * s->in_height + row - s->pad_top;
      const size_t from = (line * s->in_width + column - s->pad_left) * lanes + l;
      const double terms[3] = {(double)values[k] * x[from], (double)values[k] * d[to], (double)d[to] * x[from]};
      r.y[to] += terms[0];
      r.y_size[to] += fabs(terms[0]);
      r.dx[from] += terms[1];
      r.dx_size[from] += fabs(terms[1]);
      r.g[k] += terms[2];
      r.g_size[k] += fabs(terms[2]);
    }
  }
  return r;
}

static void run_conv(esp_isa isa, const esp_csr *w, const float *values, const float *bias, const esp_conv_shape *s,
                     size_t blocks, size_t lanes, const float *x, float *y, int threads) {
  const size_t nnz = w->row_starts[w->rows];
  float *workspace = nans(esp_sparse_conv_workspace(s, nnz, lanes, threads));
  esp_sparse_conv_f32(isa, w, values, bias, s, blocks, lanes, x, y, workspace, threads);
  free(workspace);
}

static void run_sddmm(esp_isa isa, const esp_csr *w, const esp_conv_shape *s, size_t blocks, size_t lanes,
                      const float *x, const float *d, float *g, int threads) {
  float *workspace = nans(esp_sparse_conv_sddmm_workspace(s, w->row_starts[w->rows], blocks, lanes, threads));
  esp_sparse_conv_sddmm_f32(isa, w, s, blocks, lanes, x, d, g, workspace, threads);
  free(workspace);
}

/// Both gradients in one pass: the bits of the kernels for each, which are `dx` and `g`, and a base added.
static void check_backward(esp_isa isa, const esp_conv_gradients *call, const esp_conv_shape *s, size_t blocks,
                           size_t lanes, const conv_oracle *expected) {
  const size_t nx = blocks * s->in_channels * s->in_height * s->in_width * lanes,
               nnz = call->w->row_starts[call->w->rows];
  float *base = signed_floats(nx), *dx = nans(nx), *added = nans(nx), *g = nans(nnz);
  double *sum = calloc(nx + 1, sizeof *sum), *size = calloc(nx + 1, sizeof *size);
  for (size_t i = 0; i < nx; i++) {
    sum[i] = expected->dx[i] + base[i];
    size[i] = expected->dx_size[i] + fabs(base[i]);
  }
  for (int threads = 1; threads <= 5; threads++) {
    float *workspace = nans(esp_sparse_conv_backward_workspace(s, nnz, blocks, lanes, threads));
    esp_conv_gradients own = *call;
    own.dx = dx;
    own.g = g;
    for (size_t i = 0; i < nx; i++) dx[i] = NAN;
    for (size_t k = 0; k < nnz; k++) g[k] = NAN;
    esp_sparse_conv_backward_f32(isa, &own, s, blocks, lanes, workspace, threads);
    expect_same_bits("both gradients, dx", isa, dx, call->dx, nx);
    expect_same_bits("both gradients, g", isa, g, call->g, nnz);
    own.base = base;
    for (size_t i = 0; i < nx; i++) dx[i] = NAN;
    esp_sparse_conv_backward_f32(isa, &own, s, blocks, lanes, workspace, threads);
    if (threads == 1) memcpy(added, dx, nx * sizeof *dx);
    expect_close("both gradients with a base", isa, dx, sum, size, nx);
    expect_same_bits("both gradients with a base", isa, dx, added, nx);
    own.g = NULL;
    for (size_t i = 0; i < nx; i++) dx[i] = NAN;
    esp_sparse_conv_backward_f32(isa, &own, s, blocks, lanes, workspace, threads);
    expect_same_bits("dx alone with a base", isa, dx, added, nx);
    free(workspace);
  }
  void *all[] = {base, dx, added, g, sum, size};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void check_conv(esp_isa isa, size_t channels, size_t outputs, size_t height, size_t width, size_t kernel,
                       size_t stride, size_t padding, size_t blocks, size_t lanes) {
  const esp_conv_shape s = {
      .in_channels = channels,
      .in_height = height,
      .in_width = width,
      .out_channels = outputs,
      .out_height = (height + 2 * padding - kernel) / stride + 1,
      .out_width = (width + 2 * padding - kernel) / stride + 1,
      .kernel_height = kernel,
      .kernel_width = kernel,
      .stride = stride,
      .pad_top = padding,
      .pad_left = padding,
      .input_dilation = 1,
  };
  const size_t taps = kernel * kernel, nx = blocks * channels * height * width * lanes;
  const size_t ny = blocks * outputs * s.out_height * s.out_width * lanes;
  const esp_csr w = random_csr(outputs, channels * taps, 0.3);
  const size_t nnz = w.row_starts[outputs];
  float *values = signed_floats(nnz), *bias = signed_floats(outputs), *x = signed_floats(nx), *d = signed_floats(ny);
  const conv_oracle expected = conv_loops(&w, values, bias, &s, blocks, lanes, x, d);

  float *y = nans(ny), *y_many = nans(ny), *dx = nans(nx), *g = nans(nnz), *g_many = nans(nnz);
  run_conv(isa, &w, values, bias, &s, blocks, lanes, x, y, 1);
  run_conv(isa, &w, values, bias, &s, blocks, lanes, x, y_many, 3);
  expect_close("convolution", isa, y, expected.y, expected.y_size, ny);
  expect_same_bits("convolution", isa, y, y_many, ny);

  uint64_t *starts = calloc(channels + 1, sizeof *starts);
  uint32_t *columns = calloc(nnz + 1, sizeof *columns), *permutation = calloc(nnz + 1, sizeof *permutation);
  float *back_values = nans(nnz), *zeros = calloc(channels, sizeof *zeros);
  esp_csr_transpose(&w, taps, starts, columns, permutation);
  esp_permute_f32(values, permutation, nnz, back_values, 1);
  const esp_csr back = {channels, outputs * taps, starts, columns};
  const esp_conv_shape back_shape = esp_conv_input_gradient_shape(&s);
  run_conv(isa, &back, back_values, zeros, &back_shape, blocks, lanes, d, dx, 2);
  expect_close("input gradient", isa, dx, expected.dx, expected.dx_size, nx);

  run_sddmm(isa, &w, &s, blocks, lanes, x, d, g, 1);
  run_sddmm(isa, &w, &s, blocks, lanes, x, d, g_many, 3);
  expect_close("weight gradient", isa, g, expected.g, expected.g_size, nnz);
  expect_same_bits("weight gradient", isa, g, g_many, nnz);
  const esp_conv_gradients both = {&w, &back, back_values, x, d, NULL, g, dx};
  check_backward(isa, &both, &s, blocks, lanes, &expected);
  free_csr(w);
  void *all[] = {values,      bias,
                 x,           d,
                 y,           y_many,
                 dx,          g,
                 g_many,      starts,
                 columns,     permutation,
                 back_values, zeros,
                 expected.y,  expected.y_size,
                 expected.dx, expected.dx_size,
                 expected.g,  expected.g_size};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int main(void) {
  static const size_t lane_counts[] = {1, 8, 16, 32};
  size_t variants = 0;
  for (int isa = 0; isa < ESP_ISA_COUNT; isa++) {
    if (!esp_isa_available((esp_isa)isa)) continue;
    variants++;
    printf("%s\n", esp_isa_name((esp_isa)isa));
    for (size_t n = 0; n <= 70; n += 7) check_adamw((esp_isa)isa, n);
    check_adamw((esp_isa)isa, 5000);
    for (size_t i = 0; i < 4; i++) {
      const size_t lanes = lane_counts[i];
      for (size_t blocks = 1; blocks <= 3; blocks++) {
        check_linear((esp_isa)isa, 1, 1, 1, blocks, lanes);
        check_linear((esp_isa)isa, 37, 41, 0.2, blocks, lanes);
        check_linear((esp_isa)isa, 9, 700, 0.5, blocks, lanes);
        check_linear((esp_isa)isa, 300, 17, 0.02, blocks, lanes);
      }
      check_attention((esp_isa)isa, 2, 2, 8, 7, lanes);
      check_attention((esp_isa)isa, 1, 1, 64, 33, lanes);
      check_chain((esp_isa)isa, 1, 1, lanes);
      check_chain((esp_isa)isa, 2, 7, lanes);
      check_conv((esp_isa)isa, 3, 8, 9, 7, 3, 1, 1, 2, lanes);
      check_conv((esp_isa)isa, 16, 5, 6, 33, 3, 2, 1, 2, lanes);
      check_conv((esp_isa)isa, 20, 19, 4, 5, 1, 1, 0, 2, lanes);
      check_conv((esp_isa)isa, 6, 7, 8, 8, 1, 2, 0, 1, lanes);
      check_conv((esp_isa)isa, 3, 4, 15, 14, 7, 2, 3, 1, lanes);
      check_conv((esp_isa)isa, 5, 6, 2, 2, 3, 1, 1, 3, lanes);
      check_conv((esp_isa)isa, 9, 7, 8, 8, 1, 1, 0, 2, lanes);     // channels that collide in the caches
      check_conv((esp_isa)isa, 40, 40, 3, 9, 3, 1, 1, 1, lanes);   // lists in several panels
      check_conv((esp_isa)isa, 1, 40, 29, 30, 3, 1, 1, 1, lanes);  // for 32 lanes, outputs past the caches
      check_conv((esp_isa)isa, 4, 30, 7, 6, 3, 2, 1, 2, lanes);
      check_conv((esp_isa)isa, 16, 3, 32, 32, 3, 1, 1, 1, lanes);  // for 32 lanes, dx past the caches
      check_conv((esp_isa)isa, 5, 6, 20, 11, 3, 1, 1, 4, lanes);   // blocks that share a unit of the weights' gradient
    }
  }
  printf("%zu checks of %zu variants, %zu failed\n", checks, variants, failures);
  return failures > 0 || variants < 2;
}
