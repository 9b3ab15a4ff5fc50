// Defines PICK for images of PIXEL; included once for each type.

/// Writes the pixels of columns first ..< last of one sample's row i in a channel, `lanes` apart.
ESP_TARGET ESP_INLINE void PICK(const esp_packing_case *p, size_t sample, size_t channel, size_t i, size_t first,
                                size_t last, PIXEL *restrict tile) {
  const esp_placement placement = p->placements ? p->placements[sample] : (esp_placement){0, 0, 0};
  const ptrdiff_t top = (ptrdiff_t)(p->height - p->source_height) / 2;
  const ptrdiff_t left = (ptrdiff_t)(p->width - p->source_width) / 2;
  const ptrdiff_t row = (ptrdiff_t)i + placement.shift_y - top;
  const int inside = row >= 0 && row < (ptrdiff_t)p->source_height;
  const size_t source_channel = p->source_channels == 1 ? 0 : channel;
  const size_t plane = p->indices[sample] * p->source_channels + source_channel;
  const PIXEL *const source =
      (const PIXEL *)p->images + (plane * p->source_height + (inside ? (size_t)row : 0)) * p->source_width;
  const size_t width = inside ? p->source_width : 0, lanes = p->lanes;
  // Column j shows the source's column start + j, or start - j where flipped.
  const ptrdiff_t start = (ptrdiff_t)(placement.flip ? p->width - 1 - first : first) + placement.shift_x - left;
  const ptrdiff_t count = (ptrdiff_t)(last - first);
  const ptrdiff_t begin = clamped(placement.flip ? start - (ptrdiff_t)width + 1 : -start, 0, count);
  const ptrdiff_t end = clamped(placement.flip ? start + 1 : (ptrdiff_t)width - start, begin, count);
  for (ptrdiff_t j = 0; j < begin; j++) tile[(size_t)j * lanes] = 0;
  if (placement.flip)
    for (ptrdiff_t j = begin; j < end; j++) tile[(size_t)j * lanes] = source[start - j];
  else
    for (ptrdiff_t j = begin; j < end; j++) tile[(size_t)j * lanes] = source[start + j];
  for (ptrdiff_t j = end; j < count; j++) tile[(size_t)j * lanes] = 0;
}

#undef PICK
#undef PIXEL
