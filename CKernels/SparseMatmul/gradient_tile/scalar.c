#include "gradient_tile.h"

void esp_gradient_tile_columns_scalar(const esp_gradient_tile *t, int accumulate, size_t first, size_t last) {
  for (size_t r = 0; r < t->rows; r++) {
    for (size_t c = first; c < last; c++) {
      float sum = 0;
      for (size_t b = 0; b < t->blocks; b++) {
        const float *delta = t->d + (b * t->d_features + r) * t->lanes;
        const float *input = t->x + (b * t->x_features + c) * t->lanes;
        for (size_t l = 0; l < t->lanes; l++) sum += delta[l] * input[l];
      }
      float *g = t->g + r * t->g_columns + c;
      *g = accumulate ? *g + sum : sum;
    }
  }
}
