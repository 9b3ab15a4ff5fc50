#ifndef ESP_ACTIVITY_H
#define ESP_ACTIVITY_H

#include "esp_sampling.h"
#include "esp_sparse_conv.h"

// How active a layer's inputs and outputs are: what guides GSE's exploration (Heddes et al., arXiv 2401.06898).
//
// A batch has rows (block, position, lane), the patches of a convolution or the tokens of a transformer being rows of
// their own: activations [sample blocks * tokens, channels, positions, lanes]. Lanes beyond the last sample are
// skipped. Sums are taken in double, each by one thread, in an order that depends on the shape alone.

/// A batch's shape.
typedef struct esp_activity_shape {
  size_t samples, tokens, channels, positions, lanes;
} esp_activity_shape;

/// signs[row] := 1 or -1, a bit of the stream, or 0 in a lane beyond the last sample.
///
/// The bit's number follows from the sample, counted from `first_sample`, the token and the position, whatever the
/// lanes: it is the row's in blocks of 32 samples.
/// signs [blocks, positions, lanes]; shape->channels is not used.
void esp_activity_signs(esp_random_key key, size_t first_sample, const esp_activity_shape *shape, float *restrict signs,
                        int threads);

/// sums[c] := sum over rows of |X[row, c]| where signs is NULL (GraBo), else of signs[row] * X[row, c] (GraEst).
///
/// X [blocks, channels, positions, lanes], signs [blocks, positions, lanes], sums [channels].
/// Cost: 2 * channels * rows FLOP.
void esp_activity_sums(const esp_activity_shape *shape, const float *x, const float *signs, double *restrict sums,
                       int threads);

/// Number of doubles that esp_activity_windows needs as workspace.
size_t esp_activity_windows_workspace(const esp_conv_shape *shape, int threads);

/// sums[c, ky, kx] := sum over samples and output positions (y, x) of |Xpadded[c, y * stride + ky, x * stride + kx]|:
/// the sum over a convolution's rows of each input's magnitude, without im2col.
///
/// X [blocks, in_channels, in_height, in_width, lanes], sums [in_channels * kernel_height * kernel_width];
/// shape->input_dilation = 1. Magnitudes are added over samples first, then over windows, rows before columns.
/// Cost: 2 * in_channels * in_height * in_width * samples FLOP, and a batch's worth of windows once.
void esp_activity_windows(const esp_conv_shape *shape, size_t samples, size_t lanes, const float *x,
                          double *restrict sums, double *restrict workspace, int threads);

#endif
