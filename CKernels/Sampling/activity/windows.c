#include <assert.h>
#include <math.h>
#include <string.h>

#include "activity.h"

/// Doubles a thread needs: a channel's image, and its rows' sums for each kernel column.
static size_t space_of_thread(const esp_conv_shape *shape) {
  return shape->in_height * (shape->in_width + shape->kernel_width);
}

size_t esp_activity_windows_workspace(const esp_conv_shape *shape, int threads) {
  return (size_t)threads * space_of_thread(shape);
}

/// image[i, j] := sum over samples of |X[channel, i, j]|.
static void sum_samples(const esp_conv_shape *shape, size_t samples, size_t lanes, const float *x, size_t channel,
                        double *restrict image) {
  const size_t pixels = shape->in_height * shape->in_width;
  memset(image, 0, pixels * sizeof *image);
  for (size_t block = 0; block < sample_blocks(samples, lanes); block++) {
    const size_t used = lanes_used(samples, lanes, block);
    const float *plane = x + (block * shape->in_channels + channel) * pixels * lanes;
    for (size_t i = 0; i < pixels; i++) {
      double sum = 0;
      for (size_t l = 0; l < used; l++) sum += (double)fabsf(plane[i * lanes + l]);
      image[i] += sum;
    }
  }
}

/// Sum of values[(k * stride + offset - padding) * step] over the k < outputs at which that lies inside of `size`.
static double window_sum(const double *values, size_t size, size_t step, size_t outputs, size_t stride, size_t offset,
                         size_t padding) {
  double sum = 0;
  for (size_t k = 0; k < outputs; k++) {
    const size_t place = k * stride + offset;
    if (place >= padding && place - padding < size) sum += values[(place - padding) * step];
  }
  return sum;
}

static void channel_windows(const esp_conv_shape *shape, const double *image, double *restrict rows,
                            double *restrict sums) {
  const size_t height = shape->in_height, width = shape->in_width, kernel = shape->kernel_width;
  for (size_t i = 0; i < height; i++)
    for (size_t kx = 0; kx < kernel; kx++)
      rows[i * kernel + kx] =
          window_sum(image + i * width, width, 1, shape->out_width, shape->stride, kx, shape->pad_left);
  for (size_t ky = 0; ky < shape->kernel_height; ky++)
    for (size_t kx = 0; kx < kernel; kx++)
      sums[ky * kernel + kx] =
          window_sum(rows + kx, height, kernel, shape->out_height, shape->stride, ky, shape->pad_top);
}

void esp_activity_windows(const esp_conv_shape *shape, size_t samples, size_t lanes, const float *x,
                          double *restrict sums, double *restrict workspace, int threads) {
  assert(threads > 0 && shape->input_dilation == 1);
  const size_t taps = shape->kernel_height * shape->kernel_width, pixels = shape->in_height * shape->in_width;
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int part = 0; part < threads; part++) {
    double *const image = workspace + (size_t)part * space_of_thread(shape);
    const size_t last = esp_part(shape->in_channels, part + 1, threads);
    for (size_t c = esp_part(shape->in_channels, part, threads); c < last; c++) {
      sum_samples(shape, samples, lanes, x, c, image);
      channel_windows(shape, image, image + pixels, sums + c * taps);
    }
  }
}
