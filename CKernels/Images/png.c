#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "images.h"

typedef struct source {
  const uint8_t *bytes;
  size_t left;
  char *message;
} source;

static void on_error(png_structp png, png_const_charp text) {
  snprintf(((source *)png_get_error_ptr(png))->message, ESP_IMAGE_MESSAGE, "%s", text);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png, (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t count) {
  source *s = png_get_io_ptr(png);
  if (count > s->left) png_error(png, "the PNG data end too early: the file is truncated");
  memcpy(out, s->bytes, count);
  s->bytes += count;
  s->left -= count;
}

/// libpng's two structures, and where its errors go.
typedef struct decoder {
  source source;
  png_structp png;
  png_infop info;
} decoder;

/// Chunks that are no pixels may take this much memory.
enum { LARGEST_CHUNK = 1 << 20 };

static int prepare(decoder *d, const uint8_t *bytes, size_t count, char *message) {
  d->source = (source){bytes, count, message};
  d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d->source, on_error, on_warning);
  d->info = d->png ? png_create_info_struct(d->png) : NULL;
  if (d->info) return 0;
  snprintf(message, ESP_IMAGE_MESSAGE, "libpng cannot start");
  png_destroy_read_struct(&d->png, &d->info, NULL);
  return 1;
}

static void start(decoder *d) {
  png_set_read_fn(d->png, &d->source, read_bytes);
  png_set_user_limits(d->png, ESP_IMAGE_LARGEST, ESP_IMAGE_LARGEST);
  png_set_chunk_malloc_max(d->png, LARGEST_CHUNK);
  png_read_info(d->png, d->info);
}

int esp_png_read_header(const uint8_t *bytes, size_t count, esp_image_header *header, char *message) {
  decoder d;
  if (prepare(&d, bytes, count, message)) return 1;
  const int failed = setjmp(png_jmpbuf(d.png));
  if (!failed) {
    start(&d);
    *header =
        (esp_image_header){ESP_IMAGE_PNG, png_get_image_width(d.png, d.info), png_get_image_height(d.png, d.info)};
  }
  png_destroy_read_struct(&d.png, &d.info, NULL);
  return failed;
}

/// Eight bits, three colours, whatever the file has.
static void choose_rgb(decoder *d) {
  png_set_expand(d->png);
  png_set_strip_16(d->png);
  png_set_gray_to_rgb(d->png);
  png_set_strip_alpha(d->png);
}

int esp_png_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, uint8_t *rgb, char *message) {
  decoder d;
  if (prepare(&d, bytes, count, message)) return 1;
  const int failed = setjmp(png_jmpbuf(d.png));
  if (!failed) {
    start(&d);
    choose_rgb(&d);
    const int passes = png_set_interlace_handling(d.png);
    png_read_update_info(d.png, d.info);
    const size_t row = 3 * header->width;
    if (png_get_rowbytes(d.png, d.info) != row || png_get_image_height(d.png, d.info) != header->height)
      png_error(d.png, "the picture's size is not what its header told");
    for (int pass = 0; pass < passes; pass++)
      for (size_t y = 0; y < header->height; y++) png_read_row(d.png, rgb + y * row, NULL);
    png_read_end(d.png, NULL);
  }
  png_destroy_read_struct(&d.png, &d.info, NULL);
  return failed;
}
