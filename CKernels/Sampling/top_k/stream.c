#include <assert.h>

#include "top_k.h"

void esp_stream_compact(esp_stream *stream) {
  if (stream->count <= stream->k) return;
  const esp_segment segment = {stream->values, stream->count};
  esp_cut cut = esp_select_cut(&segment, 1, stream->k, ESP_LARGEST, stream->histogram);
  stream->threshold = cut.bits;
  stream->is_full = 1;
  stream->count = esp_collect(stream->values, stream->count, &cut, ESP_LARGEST, stream->selected);
  for (size_t i = 0; i < stream->count; i++) {
    stream->values[i] = stream->values[stream->selected[i]];
    stream->keys[i] = stream->keys[stream->selected[i]];
  }
}

/// An entry as large as the threshold comes after those that made it: ties go to the first.
static void show(esp_stream *stream, float value, uint64_t key) {
  if (stream->is_full && magnitude_bits(value) <= stream->threshold) return;
  if (stream->count == stream->capacity) {
    esp_stream_compact(stream);
    if (magnitude_bits(value) <= stream->threshold) return;
  }
  assert(stream->count < stream->capacity);
  stream->values[stream->count] = value;
  stream->keys[stream->count++] = key;
}

void esp_stream_rows(esp_stream *stream, const esp_csr *active, size_t first, size_t rows,
                     const float *restrict gradients, float *restrict active_gradients) {
  const size_t columns = active->columns;
  for (size_t o = first; o < first + rows; o++, gradients += columns) {
    uint64_t k = active->row_starts[o];
    const uint64_t end = active->row_starts[o + 1];
    for (size_t i = 0; i < columns; i++) {
      if (k < end && active->column_indices[k] == i)
        active_gradients[k++] = gradients[i];
      else if (stream->k > 0)
        show(stream, gradients[i], (uint64_t)o * columns + i);
    }
  }
}
