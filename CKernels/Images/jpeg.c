#include <setjmp.h>
#include <stdio.h>
#include <string.h>
// Needs the types of <stdio.h>.
#include <jpeglib.h>

#include "images.h"

/// libjpeg's state, and where its errors go. The library keeps pointers into it.
typedef struct decoder {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  char *message;
  jmp_buf escape;
} decoder;

static decoder *decoder_of(j_common_ptr info) {
  return (decoder *)info->client_data;
}

static void fail(j_common_ptr info, const char *message) {
  snprintf(decoder_of(info)->message, ESP_IMAGE_MESSAGE, "%s", message);
  longjmp(decoder_of(info)->escape, 1);
}

static void on_error(j_common_ptr info) {
  char text[JMSG_LENGTH_MAX];
  info->err->format_message(info, text);
  fail(info, text);
}

/// Warnings and traces: libjpeg goes on, as other readers of it do.
static void on_message(j_common_ptr info, int level) {
  (void)info, (void)level;
}

static void on_output(j_common_ptr info) {
  (void)info;
}

static void do_nothing(j_decompress_ptr info) {
  (void)info;
}

static boolean on_end_of_data(j_decompress_ptr info) {
  fail((j_common_ptr)info, "the JPEG data end too early: the file is truncated");
  return FALSE;
}

static void skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if ((size_t)count > info->src->bytes_in_buffer) on_end_of_data(info);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= (size_t)count;
}

/// Every scan of a progressive picture passes over all of it; a small file can hold thousands.
static void on_progress(j_common_ptr info) {
  if (((j_decompress_ptr)info)->input_scan_number > ESP_JPEG_SCANS) fail(info, "too many scans");
}

/// Makes ready for reading; the caller has set `escape`.
static void start(decoder *d, const uint8_t *bytes, size_t count) {
  jpeg_create_decompress(&d->info);
  d->progress.progress_monitor = on_progress;
  d->info.progress = &d->progress;
  d->source =
      (struct jpeg_source_mgr){bytes, count, do_nothing, on_end_of_data, skip, jpeg_resync_to_restart, do_nothing};
  d->info.src = &d->source;
  jpeg_read_header(&d->info, TRUE);
}

static void prepare(decoder *d, char *message) {
  memset(d, 0, sizeof *d);
  d->message = message;
  d->info.err = jpeg_std_error(&d->errors);
  d->errors.error_exit = on_error;
  d->errors.emit_message = on_message;
  d->errors.output_message = on_output;
  d->info.client_data = d;
}

int esp_jpeg_read_header(const uint8_t *bytes, size_t count, esp_image_header *header, char *message) {
  decoder d;
  prepare(&d, message);
  const int failed = setjmp(d.escape);
  if (!failed) {
    start(&d, bytes, count);
    *header = (esp_image_header){ESP_IMAGE_JPEG, d.info.image_width, d.info.image_height};
  }
  jpeg_destroy_decompress(&d.info);
  return failed;
}

/// round(a * b / 255), exactly.
static uint8_t product(unsigned a, unsigned b) {
  const unsigned t = a * b + 128;
  return (uint8_t)(((t >> 8) + t) >> 8);
}

static void rgb_of_inverted_cmyk(const uint8_t *cmyk, size_t width, uint8_t *rgb) {
  for (size_t x = 0; x < width; x++) {
    const unsigned white = cmyk[4 * x + 3];
    for (size_t c = 0; c < 3; c++) rgb[3 * x + c] = (uint8_t)(white - product(255u - cmyk[4 * x + c], white));
  }
}

static void read_rows(decoder *d, uint8_t *rgb) {
  j_decompress_ptr info = &d->info;
  const size_t width = info->output_width;
  const int is_cmyk = info->out_color_space == JCS_CMYK;
  JSAMPARRAY inks =
      is_cmyk ? info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, 4 * info->output_width, 1) : NULL;
  while (info->output_scanline < info->output_height) {
    uint8_t *row = rgb + info->output_scanline * width * 3;
    jpeg_read_scanlines(info, is_cmyk ? inks : &row, 1);
    if (is_cmyk) rgb_of_inverted_cmyk(inks[0], width, row);
  }
}

int esp_jpeg_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, size_t reduction, uint8_t *rgb,
                    char *message) {
  decoder d;
  prepare(&d, message);
  const int failed = setjmp(d.escape);
  if (!failed) {
    start(&d, bytes, count);
    const J_COLOR_SPACE space = d.info.jpeg_color_space;
    d.info.out_color_space = space == JCS_CMYK || space == JCS_YCCK ? JCS_CMYK : JCS_RGB;
    d.info.scale_num = 1;
    d.info.scale_denom = (unsigned)reduction;
    jpeg_start_decompress(&d.info);
    if (d.info.output_width != (header->width + reduction - 1) / reduction ||
        d.info.output_height != (header->height + reduction - 1) / reduction)
      fail((j_common_ptr)&d.info, "the picture's size is not what its header told");
    read_rows(&d, rgb);
  }
  jpeg_destroy_decompress(&d.info);
  return failed;
}
