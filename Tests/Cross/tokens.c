#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "esp_layers.h"
#include "esp_token_chain.h"

enum { WIDE = 9, NARROW = 5 };

static const double epsilon = 1e-5;

/// x + W2 gelu(W1 norm(x) + b1) + b2 of each token: what the parameters are, and their gradients in double.
typedef struct block {
  const float *scale, *shift, *w1, *b1, *w2,
      *b2;  // w1 [WIDE, NARROW], w2 [NARROW, WIDE]; zero where there is no connection
  double dscale[NARROW], dshift[NARROW], dw1[WIDE * NARROW], db1[WIDE], dw2[NARROW * WIDE], db2[NARROW];
} block;

/// One token of one sample: y and dx, `stride` floats from one feature to the next.
static void token_loops(block *p, const float *x, const float *d, size_t stride, double *y, double *dx) {
  double mean = 0, variance = 0, normal[NARROW], n[NARROW], h[WIDE], a[WIDE], dn[NARROW] = {0}, sum = 0, dot = 0;
  for (size_t f = 0; f < NARROW; f++) mean += (double)x[f * stride] / NARROW;
  for (size_t f = 0; f < NARROW; f++) variance += ((double)x[f * stride] - mean) * (x[f * stride] - mean) / NARROW;
  const double inverse = 1 / sqrt(variance + epsilon);
  for (size_t f = 0; f < NARROW; f++) {
    normal[f] = (x[f * stride] - mean) * inverse;
    n[f] = p->scale[f] * normal[f] + p->shift[f];
    y[f * stride] = (double)x[f * stride] + p->b2[f];
    p->db2[f] += d[f * stride];
  }
  for (size_t o = 0; o < WIDE; o++) {
    h[o] = p->b1[o];
    for (size_t f = 0; f < NARROW; f++) h[o] += p->w1[o * NARROW + f] * n[f];
    const double below = (1 + erf(h[o] / sqrt(2))) / 2;
    a[o] = h[o] * below;
    double da = 0;
    for (size_t f = 0; f < NARROW; f++) {
      y[f * stride] += p->w2[f * WIDE + o] * a[o];
      p->dw2[f * WIDE + o] += d[f * stride] * a[o];
      da += (double)p->w2[f * WIDE + o] * d[f * stride];
    }
    const double dh = da * (below + h[o] * exp(-h[o] * h[o] / 2) / sqrt(2 * acos(-1)));
    p->db1[o] += dh;
    for (size_t f = 0; f < NARROW; f++) {
      p->dw1[o * NARROW + f] += dh * n[f];
      dn[f] += p->w1[o * NARROW + f] * dh;
    }
  }
  for (size_t f = 0; f < NARROW; f++) {
    p->dshift[f] += dn[f];
    p->dscale[f] += dn[f] * normal[f];
    sum += p->scale[f] * dn[f] / NARROW;
    dot += p->scale[f] * dn[f] * normal[f] / NARROW;
  }
  for (size_t f = 0; f < NARROW; f++)
    dx[f * stride] = d[f * stride] + inverse * (p->scale[f] * dn[f] - sum - normal[f] * dot);
}

/// Every second or so connection of a matrix, made zero elsewhere.
static esp_csr thin_out(size_t rows, size_t columns, float *dense, float *values) {
  uint64_t *starts = calloc(rows + 1, sizeof *starts);
  uint32_t *indices = malloc(rows * columns * sizeof *indices);
  for (size_t o = 0; o < rows; o++) {
    starts[o + 1] = starts[o];
    for (size_t c = 0; c < columns; c++) {
      if ((3 * o + 5 * c + o * c) % 7 < 3) {
        values[starts[o + 1]] = dense[o * columns + c];
        indices[starts[o + 1]++] = (uint32_t)c;
      } else {
        dense[o * columns + c] = 0;
      }
    }
  }
  return (esp_csr){.rows = rows, .columns = columns, .row_starts = starts, .column_indices = indices};
}

/// A linear layer's link with its transposed structure, and room for its gradient.
static esp_link linear_link(esp_csr w, const float *values, const float *bias) {
  const size_t nnz = w.row_starts[w.rows];
  uint64_t *starts = calloc(w.columns + 1, sizeof *starts);
  uint32_t *columns = malloc(nnz * sizeof *columns), *permutation = malloc(nnz * sizeof *permutation);
  float *back = nans(nnz);
  esp_csr_transpose(&w, 1, starts, columns, permutation);
  esp_permute_f32(values, permutation, nnz, back, 1);
  return (esp_link){.kind = ESP_LINK_LINEAR,
                    .inputs = w.columns,
                    .outputs = w.rows,
                    .w = w,
                    .transposed = {w.columns, w.rows, starts, columns},
                    .values = values,
                    .transposed_values = back,
                    .permutation = permutation,
                    .shift = bias,
                    .weight_gradient = nans(nnz),
                    .shift_gradient = nans(w.rows)};
}

static void free_linear(esp_link link) {
  void *all[] = {(void *)link.w.row_starts,
                 (void *)link.w.column_indices,
                 (void *)link.permutation,
                 (void *)link.transposed.row_starts,
                 (void *)link.transposed.column_indices,
                 (void *)link.transposed_values,
                 link.weight_gradient,
                 link.shift_gradient};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/// `found` against `expected`, which are sums over `terms` tokens of numbers of a few units.
static void expect_sums(const char *what, esp_isa isa, const float *found, const double *expected, size_t n,
                        size_t terms) {
  double *magnitude = malloc(n * sizeof *magnitude);
  for (size_t i = 0; i < n; i++) magnitude[i] = 4 * sqrt((double)terms) + 4;
  expect_close(what, isa, found, expected, magnitude, n);
  free(magnitude);
}

static void expect_gradient(esp_isa isa, const esp_link *link, const double *dense, size_t terms) {
  const size_t nnz = link->w.row_starts[link->w.rows];
  double *expected = malloc(nnz * sizeof *expected);
  for (size_t o = 0; o < link->w.rows; o++)
    for (uint64_t k = link->w.row_starts[o]; k < link->w.row_starts[o + 1]; k++)
      expected[k] = dense[o * link->w.columns + link->w.column_indices[k]];
  expect_sums("chain's weight gradient", isa, link->weight_gradient, expected, nnz, terms * terms);
  free(expected);
}

void check_chain(esp_isa isa, size_t blocks, size_t tokens, size_t lanes) {
  const size_t n = blocks * tokens * NARROW * lanes, terms = blocks * tokens * lanes;
  float *x = signed_floats(n), *d = signed_floats(n), *scale = signed_floats(NARROW), *shift = signed_floats(NARROW);
  float *w1 = signed_floats(WIDE * NARROW), *b1 = signed_floats(WIDE), *w2 = signed_floats(NARROW * WIDE);
  float *b2 = signed_floats(NARROW), v1[WIDE * NARROW], v2[NARROW * WIDE], dscale[NARROW], dshift[NARROW];
  esp_link first = linear_link(thin_out(WIDE, NARROW, w1, v1), v1, b1);
  esp_link second = linear_link(thin_out(NARROW, WIDE, w2, v2), v2, b2);
  const esp_link norm = {.kind = ESP_LINK_NORM,
                         .inputs = NARROW,
                         .outputs = NARROW,
                         .scale = scale,
                         .shift = shift,
                         .epsilon = (float)epsilon,
                         .scale_gradient = dscale,
                         .shift_gradient = dshift};
  const esp_link gelu = {.kind = ESP_LINK_GELU, .inputs = WIDE, .outputs = WIDE};
  const esp_link links[] = {norm, first, gelu, second};
  const esp_chain chain = {.links = links, .count = 4, .samples = blocks * lanes, .tokens = tokens, .lanes = lanes};

  block p = {.scale = scale, .shift = shift, .w1 = w1, .b1 = b1, .w2 = w2, .b2 = b2};
  double *y = malloc(n * sizeof *y), *dx = malloc(n * sizeof *dx);
  for (size_t t = 0; t < blocks * tokens; t++)
    for (size_t l = 0; l < lanes; l++) {
      const size_t at = t * NARROW * lanes + l;
      token_loops(&p, x + at, d + at, lanes, y + at, dx + at);
    }

  float *found[2], *gradient[2], *partials[4 * ESP_CHAIN_PARTS] = {0};
  for (size_t i = 0; i < ESP_CHAIN_PARTS; i++) {
    partials[ESP_CHAIN_PARTS + i] = nans(WIDE * NARROW);
    partials[3 * ESP_CHAIN_PARTS + i] = nans(WIDE * NARROW);
  }
  for (int i = 0; i < 2; i++) {
    const int threads = 1 + 2 * i;
    found[i] = nans(n);
    gradient[i] = nans(n);
    float *workspace = nans(esp_chain_forward_workspace(&chain, threads));
    esp_chain_forward(isa, &chain, x, x, found[i], workspace, threads);
    free(workspace);
    workspace = nans(esp_chain_backward_workspace(&chain, threads));
    esp_chain_backward(isa, &chain, x, d, d, gradient[i], partials, workspace, threads);
    free(workspace);
  }
  expect_sums("chain", isa, found[0], y, n, 64);
  expect_same_bits("chain", isa, found[0], found[1], n);
  // Gradients of a norm of tokens that hardly vary are large.
  double *size = malloc(n * sizeof *size), largest = 1;
  for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(dx[i]));
  for (size_t i = 0; i < n; i++) size[i] = 8 * largest;
  expect_close("chain's gradient", isa, gradient[0], dx, size, n);
  expect_same_bits("chain's gradient", isa, gradient[0], gradient[1], n);
  expect_sums("chain's scale gradient", isa, dscale, p.dscale, NARROW, terms * terms);
  expect_sums("chain's shift gradient", isa, dshift, p.dshift, NARROW, terms * terms);
  expect_sums("chain's bias gradient", isa, first.shift_gradient, p.db1, WIDE, terms * terms);
  expect_sums("chain's bias gradient", isa, second.shift_gradient, p.db2, NARROW, terms * terms);
  expect_gradient(isa, &first, p.dw1, terms);
  expect_gradient(isa, &second, p.dw2, terms);

  for (size_t i = 0; i < sizeof partials / sizeof *partials; i++) free(partials[i]);
  free_linear(first);
  free_linear(second);
  void *all[] = {x, d, scale, shift, w1, b1, w2, b2, y, dx, size, found[0], found[1], gradient[0], gradient[1]};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void check_adamw(esp_isa isa, size_t n) {
  const double rate = 1e-2, decay = 0.1, beta1 = 0.9, beta2 = 0.999, tiny = 1e-8;
  float *w[2], *m[2], *v[2], *start = signed_floats(n);
  double *dw = malloc((n + 1) * sizeof *dw), *dm = calloc(n + 1, sizeof *dm), *dv = calloc(n + 1, sizeof *dv);
  double *size = malloc((n + 1) * sizeof *size);
  for (int i = 0; i < 2; i++) {
    w[i] = nans(n);
    m[i] = calloc(n + 1, sizeof(float));
    v[i] = calloc(n + 1, sizeof(float));
    for (size_t j = 0; j < n; j++) w[i][j] = start[j];
  }
  for (size_t j = 0; j < n; j++) dw[j] = start[j], size[j] = 1;
  for (int step = 1; step <= 4; step++) {
    float *g = signed_floats(n);
    const double c1 = 1 - pow(beta1, step), c2 = 1 - pow(beta2, step);
    const esp_adamw rule = {.keep = (float)(1 - rate * decay),
                            .gain1 = (float)(1 - beta1),
                            .beta2 = (float)beta2,
                            .gain2 = (float)(1 - beta2),
                            .step_size = (float)(rate / c1),
                            .root_correction = (float)sqrt(c2),
                            .epsilon = (float)tiny};
    for (int i = 0; i < 2; i++) esp_adamw_step(isa, &rule, g, n, w[i], m[i], v[i], 1 + 2 * i);
    for (size_t j = 0; j < n; j++) {
      dw[j] *= 1 - rate * decay;
      dm[j] = beta1 * dm[j] + (1 - beta1) * g[j];
      dv[j] = beta2 * dv[j] + (1 - beta2) * g[j] * g[j];
      dw[j] -= rate / c1 * dm[j] / (sqrt(dv[j] / c2) + tiny);
    }
    free(g);
  }
  expect_close("AdamW", isa, w[0], dw, size, n);
  expect_close("AdamW's first moment", isa, m[0], dm, size, n);
  for (size_t j = 0; j < n; j++) size[j] = dv[j];
  expect_close("AdamW's second moment", isa, v[0], dv, size, n);
  expect_same_bits("AdamW", isa, w[0], w[1], n);
  void *all[] = {w[0], w[1], m[0], m[1], v[0], v[1], start, dw, dm, dv, size};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}
