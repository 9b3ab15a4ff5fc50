#ifndef ESP_IMAGES_H
#define ESP_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "esp_runtime.h"

/// Decoding of JPEG (libjpeg-turbo) and PNG (libpng) from memory to RGB, and resampling of crops.
///
/// Nothing here prints, and nothing that a file holds ends the program: functions return 0, or 1 with the reason in
/// `message`. The libraries allocate in proportion to the picture, whose pixels `esp_image_read_header` bounds.

enum {
  /// Bytes of a message, its end included.
  ESP_IMAGE_MESSAGE = 256,
  /// Pixels that a picture may have: 8192 x 8192.
  ESP_IMAGE_LARGEST = 1 << 26,
  /// Scans that a progressive JPEG may have; encoders write some ten.
  ESP_JPEG_SCANS = 100
};

typedef enum esp_image_format { ESP_IMAGE_JPEG, ESP_IMAGE_PNG } esp_image_format;

typedef struct esp_image_header {
  esp_image_format format;
  size_t width, height;
} esp_image_header;

/// Reads a picture's format, from its first bytes and whatever its name is, and its size.
///
/// Refuses what is neither JPEG nor PNG, more than ESP_IMAGE_LARGEST pixels, and more pixels than `count` bytes can
/// encode.
int esp_image_read_header(const uint8_t *bytes, size_t count, esp_image_header *header,
                          char message[ESP_IMAGE_MESSAGE]);

/// rgb [ceil(height / reduction), ceil(width / reduction), 3] := the picture, row-major.
///
/// Grey is repeated; transparency is dropped; of 16 bits the upper 8 are taken. CMYK is inverted, as Adobe writes it,
/// and becomes (255 - colour) * (255 - black) / 255, which is what Pillow makes of it. Orientation tags are not obeyed.
/// reduction in {1, 2, 4, 8}: JPEG alone is decoded smaller, by a smaller inverse transform; a PNG takes 1 only.
/// Fails where the data end too early, however much of the picture they hold.
int esp_image_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, size_t reduction, uint8_t *rgb,
                     char message[ESP_IMAGE_MESSAGE]);

/// A box of a picture, and the window of the box's resized version that is wanted.
typedef struct esp_resampling {
  /// Size of the picture.
  size_t source_width, source_height;
  /// The box, in pixels of the picture; may have fractions. What lies outside is not looked at, beyond the rest of a
  /// pixel that the box cuts.
  double left, top, width, height;
  /// The size that the box is brought to.
  size_t resized_width, resized_height;
  /// The part of it that is made.
  size_t window_left, window_top, window_width, window_height;
} esp_resampling;

/// Bytes that `esp_resample` works in.
size_t esp_resample_workspace(const esp_resampling *resampling);

/// out [3, window_height, window_width] := the window of the resized box of rgb [source_height, source_width, 3].
///
/// A triangle filter as wide as the reduction (antialiased bilinear interpolation), columns first, rounded to bytes
/// after each direction, coefficients in fixed point of 22 bits: bit for bit what Pillow's `resize` with BILINEAR makes
/// of `crop`. Requires a box inside the picture, a window inside the resized box, and `workspace` aligned to 8 bytes.
void esp_resample(esp_isa isa, const esp_resampling *resampling, const uint8_t *rgb, uint8_t *restrict out,
                  void *restrict workspace);

#endif
