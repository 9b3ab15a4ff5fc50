#ifndef ESP_LANE_SUMS_H
#define ESP_LANE_SUMS_H

// Sums of products over a connection's samples, over the words of CKernels/Runtime/vector, one of which is included
// before.
//
// A connection's products are added lane by lane, so that one horizontal sum serves many samples. These lane sums of a
// chunk of connections, which may cross rows, lie in a buffer until a tree reduces them, a vector of connections at a
// time: a connection's place in the chunk does not change how it is added.

#define ESP_UNROLL _Pragma("clang loop unroll(full)")

enum { esp_lane_sums_chunk = 64 };  // connections whose lane sums wait to be reduced

/// Reduces `count` lane sums into g. The buffer holds whole vectors of them.
ESP_VEC void esp_lane_sums_reduce(esp_vec *sums, size_t count, int accumulate, float *restrict g) {
  size_t i = 0;
  for (; i + esp_vec_floats <= count; i += esp_vec_floats) {
    const esp_vec sum = esp_vec_reduce(sums + i);
    esp_vec_store(g + i, accumulate ? esp_vec_add(esp_vec_load(g + i), sum) : sum);
  }
  if (i == count) return;
  for (size_t j = count; j < i + esp_vec_floats; j++) sums[j] = esp_vec_zero();
  float tail[esp_vec_floats];
  esp_vec_store(tail, esp_vec_reduce(sums + i));
  for (size_t j = 0; i + j < count; j++) g[i + j] = accumulate ? g[i + j] + tail[j] : tail[j];
}

#endif
