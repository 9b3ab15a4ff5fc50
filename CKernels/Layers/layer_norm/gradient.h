// Layer normalisation's gradient for LANES lanes at a time. Included by body.h once for each.

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define LANE_FUNCTION(name) JOIN(name, LANES)
#define lane_run LANE_FUNCTION(lane_run)
#define lane_doubles LANE_FUNCTION(lane_doubles)
#define LOAD(p) (*(const lane_run *)(p))

typedef float lane_run __attribute__((vector_size(4 * LANES), aligned(4)));
typedef double lane_doubles __attribute__((vector_size(8 * LANES)));

ESP_TARGET ESP_INLINE double LANE_FUNCTION(sum)(const lane_run *run) {
  float parts[LANES];
  memcpy(parts, run, sizeof parts);
  for (size_t half = LANES / 2; half > 0; half /= 2)
    for (size_t l = 0; l < half; l++) parts[l] += parts[l + half];
  return (double)parts[0];
}

/// What dx is made of in each lane.
typedef struct LANE_FUNCTION(lane_terms) {
  lane_run centre, factor, offset, slope;
} LANE_FUNCTION(lane_terms);

/// dx of token t: dx = base + factor * (g - mean(g) - xhat * mean(g * xhat)), g = scale * d, xhat = (x - mean) *
/// factor. dx may take base's place.
ESP_TARGET ESP_INLINE void LANE_FUNCTION(write)(group_place p, size_t t, const LANE_FUNCTION(lane_terms) * terms) {
  const LANE_FUNCTION(lane_terms) a = *terms;
  const float *const x = p.x + t * p.stride, *const d = p.d + t * p.stride;
  for (size_t f = 0; f < p.features; f++) {
    const size_t at = f * p.lanes;
    lane_run dx = a.factor * (p.scale[f] * LOAD(d + at) - a.offset - (LOAD(x + at) - a.centre) * a.slope);
    if (p.base) dx += LOAD(p.base + t * p.stride + at);
    *(lane_run *)(p.dx + t * p.stride + at) = dx;
  }
}

/// `count` tokens in LANES lanes; their sums over features, then over tokens and lanes, then dx.
ESP_TARGET ESP_INLINE void LANE_FUNCTION(tokens_gradient)(group_place p, size_t count, double *restrict scale_sums,
                                                          double *restrict shift_sums) {
  lane_run centre[GROUP], factor[GROUP];
  lane_doubles gradients[GROUP], products[GROUP];
  for (size_t t = 0; t < count; t++) {
    centre[t] = LOAD(p.mean + t * p.lanes);
    factor[t] = LOAD(p.inverse_deviation + t * p.lanes);
    gradients[t] = products[t] = (lane_doubles){0};
  }
  for (size_t start = 0; start < p.features; start += CHUNK) {
    const size_t end = start + CHUNK < p.features ? start + CHUNK : p.features;
    lane_run gradient[GROUP], product[GROUP];
    for (size_t t = 0; t < count; t++) gradient[t] = product[t] = (lane_run){0};
    for (size_t f = start; f < end; f++) {
      lane_run shift_run = {0}, scale_run = {0};
      for (size_t t = 0; t < count; t++) {
        const size_t at = t * p.stride + f * p.lanes;
        const lane_run d = LOAD(p.d + at), normal = (LOAD(p.x + at) - centre[t]) * factor[t];
        shift_run += d;
        scale_run += d * normal;
        gradient[t] += d * p.scale[f];
        product[t] += d * normal * p.scale[f];
      }
      shift_sums[f] += LANE_FUNCTION(sum)(&shift_run);
      scale_sums[f] += LANE_FUNCTION(sum)(&scale_run);
    }
    for (size_t t = 0; t < count; t++) {
      gradients[t] += __builtin_convertvector(gradient[t], lane_doubles);
      products[t] += __builtin_convertvector(product[t], lane_doubles);
    }
  }
  for (size_t t = 0; t < count; t++) {
    const LANE_FUNCTION(lane_terms)
        terms = {centre[t], factor[t], __builtin_convertvector(gradients[t] / (double)p.features, lane_run),
                 __builtin_convertvector(products[t] / (double)p.features, lane_run) * factor[t]};
    LANE_FUNCTION(write)(p, t, &terms);
  }
}

/// As many tokens at once as there are.
ESP_TARGET static void LANE_FUNCTION(group_gradient)(group_place p, size_t count, double *scale_sums,
                                                     double *shift_sums) {
  for (size_t l = 0; l < p.lanes; l += LANES) {
    group_place part = p;
    part.x += l, part.d += l, part.dx += l, part.mean += l, part.inverse_deviation += l;
    if (part.base) part.base += l;
    if (count == GROUP) {
      LANE_FUNCTION(tokens_gradient)(part, GROUP, scale_sums, shift_sums);
      continue;
    }
    for (size_t t = 0; t < count; t++) {
      LANE_FUNCTION(tokens_gradient)(part, 1, scale_sums, shift_sums);
      part.x += p.stride, part.d += p.stride, part.dx += p.stride, part.mean += p.lanes;
      part.inverse_deviation += p.lanes;
      if (part.base) part.base += p.stride;
    }
  }
}

#undef lane_run
#undef lane_doubles
#undef LOAD
#undef LANE_FUNCTION
#undef JOIN
#undef JOIN_
