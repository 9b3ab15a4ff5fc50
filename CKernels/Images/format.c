#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "images.h"

static int starts_with(const uint8_t *bytes, size_t count, const char *magic, size_t length) {
  return count >= length && memcmp(bytes, magic, length) == 0;
}

int esp_image_read_header(const uint8_t *bytes, size_t count, esp_image_header *header, char *message) {
  int failed;
  if (starts_with(bytes, count, "\xff\xd8\xff", 3)) {
    failed = esp_jpeg_read_header(bytes, count, header, message);
  } else if (starts_with(bytes, count, "\x89PNG\r\n\x1a\n", 8)) {
    failed = esp_png_read_header(bytes, count, header, message);
  } else {
    snprintf(message, ESP_IMAGE_MESSAGE, count == 0 ? "the file is empty" : "neither JPEG nor PNG");
    return 1;
  }
  if (failed) return 1;
  if (header->width > ESP_IMAGE_LARGEST / header->height) {
    snprintf(message, ESP_IMAGE_MESSAGE, "%zu x %zu pixels; expected at most %d", header->width, header->height,
             ESP_IMAGE_LARGEST);
    return 1;
  }
  // Deflate packs at most 1032 bytes into one (RFC 1951), of which a grey pixel may take a bit; Huffman codes of JPEG
  // take at least a bit for each 64 pixels.
  const size_t densest = header->format == ESP_IMAGE_PNG ? 8 * 1032 : 1024;
  if (header->width * header->height / densest > count) {
    snprintf(message, ESP_IMAGE_MESSAGE, "%zu x %zu pixels cannot be encoded in %zu bytes", header->width,
             header->height, count);
    return 1;
  }
  return 0;
}

int esp_image_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, size_t reduction, uint8_t *rgb,
                     char *message) {
  if (header->format == ESP_IMAGE_JPEG) return esp_jpeg_decode(bytes, count, header, reduction, rgb, message);
  assert(reduction == 1);
  return esp_png_decode(bytes, count, header, rgb, message);
}
