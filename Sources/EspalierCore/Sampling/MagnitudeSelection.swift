import EspSampling

/// Numbers that compete in a selection, on behalf of one layer.
public struct SelectionScores {
  /// The numbers; their owner must outlive the selection.
  public let values: UnsafeBufferPointer<Float>
  /// The layer whose memory the choice counts as.
  public let site: WeightSite

  /// Scores of one layer.
  public init(_ values: UnsafeBufferPointer<Float>, site: WeightSite) {
    self.values = values
    self.site = site
  }
}

/// What a selection chose of one layer.
public struct Selected {
  /// Ascending and distinct.
  public let indices: MeteredBuffer<UInt32>
  /// How many of `indices` count.
  public var count: Int

  /// The first `count` of `indices`.
  public init(indices: MeteredBuffer<UInt32>, count: Int) {
    self.indices = indices
    self.count = count
  }

  /// The indices that count; valid while `indices` lives.
  public var buffer: UnsafeBufferPointer<UInt32> {
    UnsafeBufferPointer(start: UnsafePointer(indices.pointer), count: count)
  }
}

/// Exact top-k by magnitude over one or more layers; ties go to the first in order of (layer, index), NaN counts as the largest.
public struct MagnitudeSelection {
  /// Which end of the order is chosen.
  public enum Order: Sendable {
    /// Those of the largest magnitude.
    case largest
    /// Those of the smallest magnitude.
    case smallest
  }

  private let meter: AllocationMeter

  /// A selection whose memory `meter` counts.
  public init(meter: AllocationMeter) { self.meter = meter }

  /// The indices of the k largest or smallest of one layer's scores.
  ///
  /// - Precondition: 0 <= k <= number of scores.
  /// - Complexity: O(number of scores), whatever their values.
  public func select(_ k: Int, _ order: Order, of scores: MeteredBuffer<Float>, site: WeightSite) -> Selected {
    withExtendedLifetime(scores) {
      select(k, order, of: [SelectionScores(UnsafeBufferPointer(scores.buffer), site: site)])[0]
    }
  }

  /// For each of `scores` the indices of those among the k largest or smallest of all.
  ///
  /// - Precondition: 0 <= k <= total number of scores.
  /// - Complexity: O(number of scores), whatever their values.
  public func select(_ k: Int, _ order: Order, of scores: [SelectionScores]) -> [Selected] {
    let order = order == .largest ? ESP_LARGEST : ESP_SMALLEST
    let histogram = MeteredBuffer<UInt64>(count: 2048, tag: .selection, site: nil, meter: meter)
    defer { withExtendedLifetime(histogram) {} }
    let segments = scores.map { esp_segment(values: $0.values.baseAddress, count: $0.values.count) }
    var cut = esp_select_cut(segments, segments.count, k, order, histogram.pointer)
    return scores.map { score in
      let indices = MeteredBuffer<UInt32>(
        count: min(k, score.values.count), tag: .selection, site: score.site, meter: meter)
      let count = esp_collect(score.values.baseAddress, score.values.count, &cut, order, indices.pointer)
      return Selected(indices: indices, count: count)
    }
  }
}
