#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// Needs the types of <stdio.h>.
#include <jpeglib.h>

#include "test_images.h"

size_t test_jpeg(const uint8_t *pixels, size_t width, size_t height, test_jpeg_space space, int quality,
                 int progressive, uint8_t *out, size_t capacity) {
  struct jpeg_compress_struct info;
  struct jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char *bytes = NULL;
  unsigned long count = 0;
  jpeg_mem_dest(&info, &bytes, &count);
  const size_t channels = space == TEST_JPEG_GREY ? 1 : space == TEST_JPEG_RGB ? 3 : 4;
  info.image_width = (unsigned)width;
  info.image_height = (unsigned)height;
  info.input_components = (int)channels;
  info.in_color_space = space == TEST_JPEG_GREY ? JCS_GRAYSCALE : space == TEST_JPEG_RGB ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (space == TEST_JPEG_YCCK) jpeg_set_colorspace(&info, JCS_YCCK);
  jpeg_set_quality(&info, quality, TRUE);
  if (progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < height) {
    JSAMPROW row = (JSAMPROW)(pixels + info.next_scanline * width * channels);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const size_t written = count <= capacity ? count : 0;
  memcpy(out, bytes, written);
  free(bytes);
  return written;
}

typedef struct sink {
  uint8_t *out;
  size_t count, capacity;
} sink;

static void write_bytes(png_structp png, png_bytep bytes, size_t count) {
  sink *s = png_get_io_ptr(png);
  if (s->count + count <= s->capacity) memcpy(s->out + s->count, bytes, count);
  s->count += count;
}

static void flush(png_structp png) {
  (void)png;
}

size_t test_png(const uint8_t *pixels, size_t width, size_t height, int channels, int bits, int interlaced,
                uint8_t *out, size_t capacity) {
  static const int types[] = {0, PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                              PNG_COLOR_TYPE_RGBA};
  sink s = {out, 0, capacity};
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &s, write_bytes, flush);
  png_set_IHDR(png, info, (unsigned)width, (unsigned)height, bits, types[channels],
               interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  const int passes = png_set_interlace_handling(png);
  const size_t row = width * (size_t)channels * (size_t)bits / 8;
  for (int pass = 0; pass < passes; pass++)
    for (size_t y = 0; y < height; y++) png_write_row(png, pixels + y * row);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return s.count <= capacity ? s.count : 0;
}
