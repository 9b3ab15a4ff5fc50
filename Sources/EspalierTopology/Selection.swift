import EspSampling
import EspalierCore

/// Exact top-k by magnitude over one or more layers; ties go to the first in order of (layer, connection).
struct MagnitudeSelection {
  let meter: AllocationMeter

  /// For each of `scores` the ascending indices of those among the k largest or smallest of all.
  ///
  /// - Precondition: k <= total number of scores.
  /// - Complexity: O(number of scores), whatever their values.
  func select(
    _ k: Int, _ order: esp_order, of scores: [(values: UnsafePointer<Float>?, count: Int, site: WeightSite)]
  ) -> [(indices: MeteredBuffer<UInt32>, count: Int)] {
    let histogram = MeteredBuffer<UInt64>(count: 2048, tag: .selection, site: nil, meter: meter)
    let segments = scores.map { esp_segment(values: $0.values, count: $0.count) }
    var cut = esp_select_cut(segments, segments.count, k, order, histogram.pointer)
    return scores.map { score in
      let indices = MeteredBuffer<UInt32>(
        count: min(k, score.count), tag: .selection, site: score.site, meter: meter)
      let count = esp_collect(score.values, score.count, &cut, order, indices.pointer)
      return (indices, count)
    }
  }
}

extension SparseStructure {
  /// The connections at the given ascending positions, as a structure of their own.
  func subset(
    positions: UnsafeBufferPointer<UInt32>, site: WeightSite, meter: AllocationMeter
  ) -> SparseStructure {
    let starts = MeteredBuffer<UInt64>.zeros(count: rows + 1, tag: .selection, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: positions.count, tag: .selection, site: site, meter: meter)
    var row = 0
    for (i, position) in positions.enumerated() {
      while rowStarts.pointer[row + 1] <= UInt64(position) { row += 1 }
      starts.pointer[row + 1] += 1
      indices.pointer[i] = columnIndices.pointer[Int(position)]
    }
    for row in 0..<rows { starts.pointer[row + 1] += starts.pointer[row] }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }
}
