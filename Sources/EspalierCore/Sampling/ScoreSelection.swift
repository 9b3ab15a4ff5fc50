import EspSampling

/// Selects the weights with the largest scores of several layers, exactly, while the scores stream by three times: two passes of histograms
/// over the bits of the scores find the cut, the third collects. Ties go to the first in order of (layer, row, column).
///
/// Each layer keeps at least the first of its largest. Memory: 65,536 counters a thread, whatever the number of scores.
public struct ScoreSelection {
  /// Shows a layer's tiles in order of rows; the same ones each time.
  public typealias Stream = (_ body: (ScoreTile) throws -> Void) throws -> Void

  private let context: ComputeContext
  private static let buckets = 1 << 16
  /// The order of infinity: NaN, and nothing else, comes after it.
  private static let infinity: UInt32 = 0xFF80_0000

  /// A selection that computes on `context`.
  public init(context: ComputeContext) { self.context = context }

  /// The first largest of a layer: its order, and where it stands.
  private struct Largest {
    var order: UInt32 = 0
    var row = -1
    /// Of the tile that begins with `row`.
    var place = 0
  }

  /// What is selected: orders above `bits`, of those equal to it the first `ties`, and each layer's largest.
  private struct Cut {
    let bits: UInt32
    var ties: UInt64
  }

  /// Selects k scores of the layers that `streams` show; `collect` is shown each tile once, with the ascending places of the selected.
  ///
  /// - Throws: `EspalierError.invariant` unless k is at least the number of layers and at most that of scores; `EspalierError.diverged` for scores that are
  ///   not finite; what the closures throw.
  public func select(
    _ k: Int, from streams: [Stream],
    collect: (_ layer: Int, ScoreTile, UnsafeBufferPointer<UInt32>) throws -> Void
  ) throws {
    var largest = [Largest](repeating: Largest(), count: streams.count)
    let cut = try cut(k, streams: streams, largest: &largest)
    var left = cut.ties
    for (layer, stream) in streams.enumerated() {
      try stream { tile in
        let always = tile.rows.lowerBound == largest[layer].row ? largest[layer].place : tile.count
        let count = esp_order_collect(
          tile.orders.pointer, tile.count, cut.bits, &left, always, tile.selected.pointer)
        try collect(layer, tile, UnsafeBufferPointer(start: UnsafePointer(tile.selected.pointer), count: count))
      }
    }
  }

  private func cut(_ k: Int, streams: [Stream], largest: inout [Largest]) throws -> Cut {
    var counts = try histogram(streams, prefix: nil) { layer, tile in
      guard tile.count > 0 else { return }
      let place = esp_order_largest(tile.orders.pointer, tile.count)
      let order = tile.orders.pointer[place]
      if order > largest[layer].order || largest[layer].row < 0 {
        largest[layer] = Largest(order: order, row: tile.rows.lowerBound, place: place)
      }
    }
    guard largest.allSatisfy({ $0.order <= Self.infinity - 1 }) else {
      throw EspalierError.diverged("scores of weights are not finite; try another --seed, or a lower learning rate")
    }
    let total = counts.reduce(0, +)
    guard k >= streams.count, k <= total, largest.allSatisfy({ $0.row >= 0 }) else {
      throw EspalierError.invariant("scores: \(k) of \(total) cannot be selected from \(streams.count) layers")
    }
    // Each layer's largest is selected in any case; the others compete for the rest.
    let rest = k - streams.count
    guard rest > 0 else { return Cut(bits: .max, ties: 0) }
    for one in largest { counts[Int(one.order >> 16)] -= 1 }
    let upper = Self.bucket(rest, in: counts)
    var lower = try histogram(streams, prefix: UInt32(upper.index)) { _, _ in }
    for one in largest where one.order >> 16 == upper.index { lower[Int(one.order & 0xFFFF)] -= 1 }
    let exact = Self.bucket(upper.missing, in: lower)
    return Cut(bits: UInt32(upper.index) << 16 | UInt32(exact.index), ties: UInt64(exact.missing))
  }

  /// The bucket that holds the k-th largest, k > 0, and how many it gives.
  private static func bucket(_ k: Int, in counts: [Int]) -> (index: Int, missing: Int) {
    var missing = k
    for index in counts.indices.reversed() {
      if counts[index] >= missing { return (index, missing) }
      missing -= counts[index]
    }
    return (0, missing)
  }

  /// Counts the orders by their upper 16 bits, or those that begin with `prefix` by their lower.
  private func histogram(
    _ streams: [Stream], prefix: UInt32?, look: (_ layer: Int, ScoreTile) -> Void
  ) throws -> [Int] {
    let counters = MeteredBuffer<UInt64>.zeros(
      count: context.threads * Self.buckets, tag: .selection, site: nil, meter: context.meter)
    for (layer, stream) in streams.enumerated() {
      try stream { tile in
        look(layer, tile)
        esp_order_histogram(
          tile.orders.pointer, tile.count, prefix == nil ? 0 : 1, prefix ?? 0, counters.pointer, context.threadCount)
      }
    }
    esp_order_merge(counters.pointer, context.threadCount)
    return counters.buffer.prefix(Self.buckets).map { Int($0) }
  }
}
