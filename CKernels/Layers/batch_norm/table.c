#include <assert.h>
#include <math.h>

#include "batch_norm/batch_norm.h"

static const esp_batch_norm_kernels *kernels_of(esp_isa isa) {
  static const esp_batch_norm_kernels *const table[ESP_ISA_COUNT] =
      ESP_VARIANTS(&esp_batch_norm_kernels_scalar, &esp_batch_norm_kernels_avx2, &esp_batch_norm_kernels_avx512,
                   &esp_batch_norm_kernels_scalar);
  return table[isa];
}

static size_t blocks_of(const esp_batch_norm *norm) {
  return esp_block_count(norm->samples, norm->lanes);
}

static double inverse_deviation(const esp_batch_norm *norm, float variance) {
  return 1 / sqrt((double)variance + (double)norm->epsilon);
}

static esp_channel_map map_of(const esp_batch_norm *norm, size_t c, float mean, float variance) {
  return (esp_channel_map){mean, (float)((double)norm->scale[c] * inverse_deviation(norm, variance)), norm->shift[c]};
}

/// One thread takes all blocks of a channel, so that the second pass over them finds them in its cache, unless so few
/// channels leave threads without work: then every pass is split by itself. The bits are the same.
static int splits_channels(const esp_batch_norm *norm, int threads) {
  return norm->channels % (size_t)threads == 0 || norm->channels >= 8 * (size_t)threads;
}

/// A range of some channel's blocks, in a list of all channels' blocks.
typedef struct block_range {
  size_t c, first, last, next;
} block_range;

/// The part of `at` ..< `end` that lies in at's channel.
static block_range range_at(size_t at, size_t end, size_t blocks) {
  const size_t c = at / blocks, stop = (c + 1) * blocks < end ? (c + 1) * blocks : end;
  return (block_range){c, at - c * blocks, stop - c * blocks, stop};
}

size_t esp_batch_norm_workspace(const esp_batch_norm *norm) {
  return norm->channels * blocks_of(norm) * (sizeof(esp_norm_sums) / sizeof(double));
}

/// Merges the blocks' moments in order.
static void merge_moments(const esp_batch_norm *norm, const esp_moments *moments, float *mean, float *variance) {
  double total = 0, total_mean = 0, squares = 0;
  for (size_t b = 0; b < blocks_of(norm); b++) {
    const double n = (double)(norm->positions * esp_real_lanes(norm->samples, norm->lanes, b));
    const double delta = moments[b].mean - total_mean;
    squares += moments[b].squares + delta * delta * (total * n / (total + n));
    total_mean += delta * (n / (total + n));
    total += n;
  }
  *mean = (float)total_mean;
  *variance = (float)(squares / total);
}

static void train_channels(const esp_batch_norm_kernels *kernels, const esp_batch_norm *norm, const float *x,
                           const float *residual, float *restrict y, float *restrict mean, float *restrict variance,
                           esp_moments *moments, size_t first, size_t last) {
  const size_t blocks = blocks_of(norm);
  for (size_t c = first; c < last; c++) {
    kernels->moments(norm, c, 0, blocks, x, moments + c * blocks);
    merge_moments(norm, moments + c * blocks, &mean[c], &variance[c]);
    kernels->apply(norm, map_of(norm, c, mean[c], variance[c]), c, 0, blocks, x, residual, y);
  }
}

void esp_batch_norm_train(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *residual,
                          float *restrict y, float *restrict mean, float *restrict variance, double *workspace,
                          int threads) {
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  esp_moments *const moments = (esp_moments *)workspace;
  const size_t channels = norm->channels;
  if (splits_channels(norm, threads)) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++)
      train_channels(kernels, norm, x, residual, y, mean, variance, moments, esp_part(channels, t, threads),
                     esp_part(channels, t + 1, threads));
    return;
  }
  esp_batch_norm_moments(isa, norm, x, mean, variance, workspace, threads);
  esp_batch_norm_forward(isa, norm, x, residual, mean, variance, y, threads);
}

void esp_batch_norm_moments(esp_isa isa, const esp_batch_norm *norm, const float *x, float *restrict mean,
                            float *restrict variance, double *workspace, int threads) {
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  esp_moments *const moments = (esp_moments *)workspace;
  const size_t channels = norm->channels, blocks = blocks_of(norm);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (size_t at = esp_part(channels * blocks, t, threads), end = esp_part(channels * blocks, t + 1, threads);
         at < end;) {
      const block_range range = range_at(at, end, blocks);
      kernels->moments(norm, range.c, range.first, range.last, x, moments + range.c * blocks);
      at = range.next;
    }
  for (size_t c = 0; c < channels; c++) merge_moments(norm, moments + c * blocks, &mean[c], &variance[c]);
}

void esp_batch_norm_forward(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *residual,
                            const float *mean, const float *variance, float *restrict y, int threads) {
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  const size_t blocks = blocks_of(norm), planes = norm->channels * blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (size_t at = esp_part(planes, t, threads), end = esp_part(planes, t + 1, threads); at < end;) {
      const block_range range = range_at(at, end, blocks);
      const esp_channel_map map = map_of(norm, range.c, mean[range.c], variance[range.c]);
      kernels->apply(norm, map, range.c, range.first, range.last, x, residual, y);
      at = range.next;
    }
}

/// Adds the blocks' sums in order.
static esp_norm_sums total_of(const esp_norm_sums *sums, size_t blocks) {
  esp_norm_sums total = {0, 0, 0};
  for (size_t b = 0; b < blocks; b++) {
    total.gradient += sums[b].gradient;
    total.product += sums[b].product;
  }
  return total;
}

static void parameter_gradients(const esp_batch_norm *norm, const esp_norm_sums *sums, const float *variance,
                                float *restrict scale_gradient, float *restrict shift_gradient) {
  const size_t blocks = blocks_of(norm);
  for (size_t c = 0; c < norm->channels; c++) {
    const esp_norm_sums total = total_of(sums + c * blocks, blocks);
    shift_gradient[c] = (float)total.gradient;
    scale_gradient[c] = (float)(total.product * inverse_deviation(norm, variance[c]));
  }
}

/// dx_sum[c] := sum of channel c's dx, over the blocks in order.
static void input_sums(const esp_batch_norm *norm, const esp_norm_sums *sums, float *restrict dx_sum) {
  const size_t blocks = blocks_of(norm);
  for (size_t c = 0; c < norm->channels; c++) {
    double sum = 0;
    for (size_t b = 0; b < blocks; b++) sum += sums[c * blocks + b].input;
    dx_sum[c] = (float)sum;
  }
}

/// dx = factor * (g - mean(g) - xhat * mean(g * xhat)), xhat = (x - mean) * inverse_deviation
static esp_norm_correction correction_of(const esp_batch_norm *norm, esp_norm_sums total, float variance) {
  const double n = (double)(norm->samples * norm->positions), inverse = inverse_deviation(norm, variance);
  return (esp_norm_correction){(float)(total.gradient / n), (float)(total.product / n * inverse * inverse)};
}

/// Runs `reduce` on a range of a channel's blocks.
static void reduce_range(const esp_batch_norm_kernels *kernels, const esp_batch_norm *norm, const float *mean,
                         const float *variance, const esp_norm_gradients *gradients, esp_norm_sums *sums,
                         block_range r) {
  const esp_channel_map map = map_of(norm, r.c, mean[r.c], variance[r.c]);
  kernels->reduce(norm, map, r.c, r.first, r.last, gradients, sums + r.c * blocks_of(norm));
}

/// Runs `correct` on a range of a channel's blocks, once `reduce` has run on all of them.
static void correct_range(const esp_batch_norm_kernels *kernels, const esp_batch_norm *norm, const float *mean,
                          const float *variance, const esp_norm_gradients *gradients, esp_norm_sums *sums,
                          block_range r) {
  const esp_channel_map map = map_of(norm, r.c, mean[r.c], variance[r.c]);
  esp_norm_sums *const own = sums + r.c * blocks_of(norm);
  const esp_norm_correction correction = correction_of(norm, total_of(own, blocks_of(norm)), variance[r.c]);
  kernels->correct(norm, map, correction, r.c, r.first, r.last, gradients, own);
}

void esp_batch_norm_backward(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                             const float *mean, const float *variance, float *dx, float *residual_gradient,
                             float *restrict scale_gradient, float *restrict shift_gradient, float *restrict dx_sum,
                             double *workspace, int threads) {
  const int by_output = norm->relu && residual_gradient;
  assert(!by_output || y);
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  const esp_norm_gradients gradients = {x, by_output ? y : NULL, d, dx, residual_gradient};
  esp_norm_sums *const sums = (esp_norm_sums *)workspace;
  const size_t blocks = blocks_of(norm), planes = norm->channels * blocks;
  // With whole channels a thread can correct one right after its reduction; else all reductions come first.
  const int whole = splits_channels(norm, threads);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++) {
    const size_t begin = whole ? esp_part(norm->channels, t, threads) * blocks : esp_part(planes, t, threads);
    const size_t end = whole ? esp_part(norm->channels, t + 1, threads) * blocks : esp_part(planes, t + 1, threads);
    for (block_range r = {0, 0, 0, begin}; r.next < end;) {
      r = range_at(r.next, end, blocks);
      reduce_range(kernels, norm, mean, variance, &gradients, sums, r);
      if (whole) correct_range(kernels, norm, mean, variance, &gradients, sums, r);
    }
  }
  if (!whole) {
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int t = 0; t < threads; t++)
      for (block_range r = {0, 0, 0, esp_part(planes, t, threads)}; r.next < esp_part(planes, t + 1, threads);) {
        r = range_at(r.next, esp_part(planes, t + 1, threads), blocks);
        correct_range(kernels, norm, mean, variance, &gradients, sums, r);
      }
  }
  parameter_gradients(norm, sums, variance, scale_gradient, shift_gradient);
  if (dx_sum) input_sums(norm, sums, dx_sum);
}

// ---- Backward in two halves

void esp_batch_norm_reduce(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                           const float *mean, const float *variance, float *residual_gradient,
                           float *restrict scale_gradient, float *restrict shift_gradient, double *workspace,
                           int threads) {
  const int by_output = norm->relu && residual_gradient;
  assert(!by_output || y);
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  const esp_norm_gradients gradients = {x, by_output ? y : NULL, d, NULL, residual_gradient};
  esp_norm_sums *const sums = (esp_norm_sums *)workspace;
  const size_t blocks = blocks_of(norm), planes = norm->channels * blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (block_range r = {0, 0, 0, esp_part(planes, t, threads)}; r.next < esp_part(planes, t + 1, threads);) {
      r = range_at(r.next, esp_part(planes, t + 1, threads), blocks);
      reduce_range(kernels, norm, mean, variance, &gradients, sums, r);
    }
  parameter_gradients(norm, sums, variance, scale_gradient, shift_gradient);
}

void esp_batch_norm_correct(esp_isa isa, const esp_batch_norm *norm, const float *x, const float *y, const float *d,
                            const float *mean, const float *variance, const double *scale_sums,
                            const double *shift_sums, size_t count, float *dx, float *residual_gradient,
                            float *restrict dx_sum, double *workspace, int threads) {
  const int by_output = norm->relu && residual_gradient;
  const esp_batch_norm_kernels *const kernels = kernels_of(isa);
  const esp_norm_gradients gradients = {x, by_output ? y : NULL, d, dx, residual_gradient};
  esp_norm_sums *const sums = (esp_norm_sums *)workspace;
  const size_t blocks = blocks_of(norm), planes = norm->channels * blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int t = 0; t < threads; t++)
    for (block_range r = {0, 0, 0, esp_part(planes, t, threads)}; r.next < esp_part(planes, t + 1, threads);) {
      r = range_at(r.next, esp_part(planes, t + 1, threads), blocks);
      const esp_channel_map map = map_of(norm, r.c, mean[r.c], variance[r.c]);
      const double n = (double)count, inverse = inverse_deviation(norm, variance[r.c]);
      const esp_norm_correction correction = {(float)(shift_sums[r.c] / n), (float)(scale_sums[r.c] / n * inverse)};
      kernels->correct(norm, map, correction, r.c, r.first, r.last, &gradients, sums + r.c * blocks);
    }
  if (dx_sum) input_sums(norm, sums, dx_sum);
}
