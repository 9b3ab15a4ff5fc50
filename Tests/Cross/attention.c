#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "esp_transformer.h"

/// One head of one sample, in double: reads and writes through strides between tokens and features.
typedef struct head {
  size_t tokens, size, token, out_token, feature;
  const float *q, *k, *v, *d;
  double *y, *dq, *dk, *dv;  // y by out_token, the gradients by token
} head;

static double dot(const head *h, const float *a, size_t i, const float *b, size_t j) {
  double sum = 0;
  for (size_t f = 0; f < h->size; f++) {
    sum += (double)a[i * h->token + f * h->feature] * b[j * h->token + f * h->feature];
  }
  return sum;
}

static void head_loops(const head *h) {
  const double scale = 1 / sqrt((double)h->size);
  double *p = malloc(h->tokens * sizeof *p), *dp = malloc(h->tokens * sizeof *dp);
  for (size_t i = 0; i < h->tokens; i++) {
    double largest = -INFINITY, sum = 0, mean = 0;
    for (size_t j = 0; j < h->tokens; j++) largest = fmax(largest, p[j] = scale * dot(h, h->q, i, h->k, j));
    for (size_t j = 0; j < h->tokens; j++) sum += p[j] = exp(p[j] - largest);
    for (size_t j = 0; j < h->tokens; j++) {
      p[j] /= sum;
      dp[j] = 0;
      for (size_t f = 0; f < h->size; f++) {
        const double value = h->v[j * h->token + f * h->feature], d = h->d[i * h->out_token + f * h->feature];
        h->y[i * h->out_token + f * h->feature] += p[j] * value;
        h->dv[j * h->token + f * h->feature] += p[j] * d;
        dp[j] += d * value;
      }
      mean += p[j] * dp[j];
    }
    for (size_t j = 0; j < h->tokens; j++) {
      const double ds = p[j] * (dp[j] - mean) * scale;
      for (size_t f = 0; f < h->size; f++) {
        h->dq[i * h->token + f * h->feature] += ds * h->k[j * h->token + f * h->feature];
        h->dk[j * h->token + f * h->feature] += ds * h->q[i * h->token + f * h->feature];
      }
    }
  }
  free(p);
  free(dp);
}

void check_attention(esp_isa isa, size_t blocks, size_t heads, size_t size, size_t tokens, size_t lanes) {
  const esp_attention_shape shape = {.blocks = blocks, .heads = heads, .size = size, .tokens = tokens, .lanes = lanes};
  const size_t width = heads * size * lanes, ny = blocks * tokens * width, nx = 3 * ny;
  float *qkv = signed_floats(nx), *d = signed_floats(ny), *statistics = nans(blocks * heads * 2 * tokens * lanes);
  double *y = calloc(ny, sizeof *y), *dqkv = calloc(nx, sizeof *dqkv), *size_of = malloc(nx * sizeof *size_of);
  for (size_t b = 0; b < blocks; b++) {
    for (size_t at = 0; at < heads * lanes; at++) {
      const size_t in = b * tokens * 3 * width + at / lanes * size * lanes + at % lanes;
      const size_t out = b * tokens * width + at / lanes * size * lanes + at % lanes;
      head_loops(&(head){tokens, size, 3 * width, width, lanes, qkv + in, qkv + in + width, qkv + in + 2 * width,
                         d + out, y + out, dqkv + in, dqkv + in + width, dqkv + in + 2 * width});
    }
  }
  for (size_t i = 0; i < nx; i++) size_of[i] = 1;  // inputs lie within [-1, 1], and probabilities sum to 1
  float *found[2], *gradient[2];
  for (int i = 0; i < 2; i++) {
    const int threads = 1 + 2 * i;
    found[i] = nans(ny);
    gradient[i] = nans(nx);
    float *workspace = nans(esp_attention_forward_workspace(&shape, threads));
    esp_attention_forward(isa, qkv, &shape, found[i], statistics, workspace, threads);
    free(workspace);
    workspace = nans(esp_attention_backward_workspace(&shape, threads));
    esp_attention_backward(isa, qkv, d, statistics, &shape, gradient[i], workspace, threads);
    free(workspace);
  }
  expect_close("attention", isa, found[0], y, size_of, ny);
  expect_close("attention's gradient", isa, gradient[0], dqkv, size_of, nx);
  expect_same_bits("attention", isa, found[0], found[1], ny);
  expect_same_bits("attention's gradient", isa, gradient[0], gradient[1], nx);
  void *all[] = {qkv, d, statistics, y, dqkv, size_of, found[0], found[1], gradient[0], gradient[1]};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}
