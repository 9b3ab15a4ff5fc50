#ifndef ESP_IMAGES_INTERNAL_H
#define ESP_IMAGES_INTERNAL_H

#include "esp_images.h"

int esp_jpeg_read_header(const uint8_t *bytes, size_t count, esp_image_header *header, char *message);
int esp_jpeg_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, size_t reduction, uint8_t *rgb,
                    char *message);
int esp_png_read_header(const uint8_t *bytes, size_t count, esp_image_header *header, char *message);
int esp_png_decode(const uint8_t *bytes, size_t count, const esp_image_header *header, uint8_t *rgb, char *message);

#endif
