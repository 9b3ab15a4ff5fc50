#ifndef TEST_IMAGES_H
#define TEST_IMAGES_H

#include <stddef.h>
#include <stdint.h>

/// Pictures for tests, encoded by libjpeg and libpng. Both functions return the number of bytes written to `out`, or 0
/// where `capacity` is too small. They end the program where the libraries fail.

typedef enum test_jpeg_space {
  TEST_JPEG_GREY = 1,
  TEST_JPEG_RGB = 3,
  TEST_JPEG_CMYK = 4,
  TEST_JPEG_YCCK = 5
} test_jpeg_space;

/// pixels [height, width, channels]: 1, 3, or 4 channels of inverted inks.
size_t test_jpeg(const uint8_t *pixels, size_t width, size_t height, test_jpeg_space space, int quality,
                 int progressive, uint8_t *out, size_t capacity);

/// pixels [height, width, channels], of 8 bits or, in big-endian order, of 16; channels: 1 grey, 2 with alpha, 3
/// colour, 4 with alpha.
size_t test_png(const uint8_t *pixels, size_t width, size_t height, int channels, int bits, int interlaced,
                uint8_t *out, size_t capacity);

#endif
