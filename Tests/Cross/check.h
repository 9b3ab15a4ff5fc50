#ifndef ESP_CROSS_CHECK_H
#define ESP_CROSS_CHECK_H

#include <stddef.h>

#include "esp_runtime.h"

float *signed_floats(size_t n);
float *nans(size_t n);

/// Fails where `found` is further from `expected` than n sums of rounded products of size `magnitude` can be.
void expect_close(const char *what, esp_isa isa, const float *found, const double *expected, const double *magnitude,
                  size_t n);

void expect_same_bits(const char *what, esp_isa isa, const float *a, const float *b, size_t n);

/// Attention's forward and backward of one shape.
void check_attention(esp_isa isa, size_t blocks, size_t heads, size_t size, size_t tokens, size_t lanes);

/// A chain of norm, linear, GELU and linear that is added to its own input, forward and backward.
void check_chain(esp_isa isa, size_t blocks, size_t tokens, size_t lanes);

/// Some steps of AdamW on n numbers.
void check_adamw(esp_isa isa, size_t n);

#endif
