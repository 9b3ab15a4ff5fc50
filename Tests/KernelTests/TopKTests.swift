import EspSampling
import TestSupport
import Testing

@Suite struct TopKTests {
  static let orders = [ESP_LARGEST, ESP_SMALLEST]

  /// Few distinct magnitudes, so that most cuts lie among ties, and every special value.
  static func values(_ count: Int, seed: UInt64) -> [Float] {
    let choices: [Float] = [
      0, -0.0, 1, -1, 1.5, -1.5, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, .infinity, -.infinity, .nan,
      .greatestFiniteMagnitude, 0.1, Float(0.1).nextUp, Float(0.1).nextDown,
    ]
    var random = LayerRandom(seed: seed)
    return (0..<count).map { _ in choices.randomElement(using: &random)! }
  }

  /// A stable sort by magnitude, NaN above infinity; the chosen indices of each segment, ascending.
  static func oracle(_ segments: [[Float]], k: Int, order: esp_order) -> [[UInt32]] {
    func rank(_ value: Float) -> Double {
      value.isNaN ? 1e301 : value.isInfinite ? 1e300 : Double(value.magnitude)
    }
    let entries = segments.indices.flatMap { s in segments[s].indices.map { (s, $0, rank(segments[s][$0])) } }
    let sorted = entries.sorted { a, b in
      if a.2 != b.2 { return order == ESP_LARGEST ? a.2 > b.2 : a.2 < b.2 }
      return (a.0, a.1) < (b.0, b.1)
    }
    var chosen = segments.map { _ in [UInt32]() }
    for entry in sorted.prefix(k) { chosen[entry.0].append(UInt32(entry.1)) }
    return chosen.map { $0.sorted() }
  }

  static func select(_ segments: [[Float]], k: Int, order: esp_order) -> [[UInt32]] {
    let flat: [Float] = Array(segments.joined()) + [0]
    return flat.withUnsafeBufferPointer { buffer in
      var start = 0
      let parts = segments.map { segment in
        defer { start += segment.count }
        return esp_segment(values: buffer.baseAddress! + start, count: segment.count)
      }
      var histogram = [UInt64](repeating: .max, count: 2048)
      var cut = esp_select_cut(parts, parts.count, k, order, &histogram)
      var left = k
      return parts.map { part in
        // A segment's list never needs more room than what is left of k.
        var selected = [UInt32](repeating: .max, count: left + 1)
        let count = esp_collect(part.values, part.count, &cut, order, &selected)
        #expect(count <= left && selected.last == .max)
        left -= min(count, left)
        return Array(selected.prefix(count))
      }
    }
  }

  @Test(arguments: [[1], [50], [7, 0, 30, 1], [0, 0, 400]], orders)
  func matchesAStableSort(sizes: [Int], order: esp_order) {
    let segments = sizes.enumerated().map { Self.values($1, seed: UInt64($0 + 40 * $1)) }
    let total = sizes.reduce(0, +)
    for k in 0...total {
      #expect(Self.select(segments, k: k, order: order) == Self.oracle(segments, k: k, order: order))
    }
  }

  @Test(arguments: orders)
  func matchesAStableSortOnContinuousValues(order: esp_order) {
    var random = LayerRandom(seed: 3)
    let segments = [random.floats(3000), random.floats(2000, in: -1e-3...1e-3), random.floats(500, in: -1e20...1e20)]
    for k in [1, 2, 100, 2749, 2750, 5499, 5500] {
      #expect(Self.select(segments, k: k, order: order) == Self.oracle(segments, k: k, order: order))
    }
  }

  @Test(arguments: orders)
  func nothingIsSelectedOfNothing(order: esp_order) {
    #expect(Self.select([], k: 0, order: order) == [])
    #expect(Self.select([[]], k: 0, order: order) == [[]])
    #expect(Self.select([[0, .nan, -.nan, -0.0]], k: 0, order: order) == [[]])
  }

  @Test(arguments: orders)
  func allEqualTakesTheFirst(order: esp_order) {
    let segments = [[Float](repeating: -2, count: 5), [2, 2]]
    #expect(Self.select(segments, k: 6, order: order) == [[0, 1, 2, 3, 4], [0]])
  }
}
