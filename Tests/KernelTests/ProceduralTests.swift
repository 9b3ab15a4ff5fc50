import EspRuntime
import EspSampling
import Testing
import TestSupport

/// Weights that are computed where they are needed: the numbers of a filled matrix, in any tile, by any instruction set.
@Suite struct ProceduralTests {
  private static let key = esp_random_key(seed: 0xFEED_5EED, stream: 2 << 23 | 5, step: 0)

  /// Tiles that begin and end anywhere in words of 64 and in blocks of 4; masks of which few, many and all of a word live.
  @Test(arguments: [(1, 1), (7, 64), (5, 131), (3, 200)], [nil, 0.02, 0.15, 0.5, 1] as [Double?])
  func tilesAreThoseOfTheMatrix(_ size: (rows: Int, columns: Int), density: Double?) {
    let (rows, columns) = size
    var dense = [Float](repeating: .nan, count: rows * columns)
    esp_random_uniform_f32(Self.key, 0, dense.count, -0.3, 0.7, &dense)
    var random = LayerRandom(seed: 5)
    let words = (columns + 63) / 64
    let live = dense.map { _ in density.map { Double.random(in: 0..<1, using: &random) < $0 } ?? true }
    var mask = [UInt64](repeating: 0, count: rows * words)
    for i in live.indices where live[i] {
      mask[i / columns * words + i % columns / 64] |= 1 << UInt64(i % columns % 64)
    }
    for isa in [ESP_ISA_SCALAR, ESP_ISA_AVX2, ESP_ISA_AVX512, ESP_ISA_NEON] where esp_isa_available(isa) != 0 {
      for absolute in [false, true] {
        for (top, height) in [(0, rows), (rows / 2, rows - rows / 2)] {
          for left in Set([0, 1, columns / 3, 63]).filter({ $0 < columns }) {
            for width in Set([1, 35, columns - left]).filter({ $0 <= columns - left }) {
              var starts = [UInt64](repeating: .max, count: height + 1)
              var indices = [UInt32](repeating: .max, count: height * width)
              var values = [Float](repeating: .nan, count: height * width)
              mask.withUnsafeBufferPointer { mask in
                var weights = esp_procedural(
                  key: Self.key, rows: rows, columns: columns, low: -0.3, high: 0.7, absolute: absolute ? 1 : 0,
                  alive: density == nil ? nil : mask.baseAddress)
                let tile = esp_tile(first_row: top, rows: height, first_column: left, columns: width)
                esp_procedural_tile(isa, &weights, tile, &starts, &indices, &values, 3)
              }
              var expected: (starts: [UInt64], indices: [UInt32], values: [Float]) = ([0], [], [])
              for row in top..<top + height {
                for column in left..<left + width where live[row * columns + column] {
                  let value = dense[row * columns + column]
                  expected.indices.append(UInt32(column))
                  expected.values.append(absolute ? abs(value) : value)
                }
                expected.starts.append(UInt64(expected.indices.count))
              }
              #expect(starts == expected.starts)
              #expect(Array(indices.prefix(expected.indices.count)) == expected.indices)
              #expect(Array(values.prefix(expected.values.count)) == expected.values)
              #expect(values.dropFirst(expected.values.count).allSatisfy { $0.isNaN })
            }
          }
        }
      }
    }
  }

  /// Orders ascend as scores do; both zeros are one, NaN is beyond infinity.
  @Test func ordersAscend() {
    let scores: [Float] = [-.infinity, -3, -1e-30, -0.0, 0, Float.leastNonzeroMagnitude, 2, 2.5, .infinity, .nan]
    var orders = [UInt32](repeating: 0, count: scores.count)
    let ones = [Float](repeating: 1, count: scores.count)
    for threads in [1, 3] {
      esp_score_orders(ESP_SCORE_SIGNED, scores, ones, 1, scores.count, &orders, Int32(threads))
      #expect(orders[3] == orders[4] && orders.allSatisfy { $0 > 0 })
      #expect(zip(orders, orders.dropFirst()).enumerated().allSatisfy { $0 == 3 || $1.0 < $1.1 })
    }
    esp_score_orders(ESP_SCORE_MAGNITUDE, scores, nil, 2, scores.count, &orders, 2)
    #expect(orders[1] == Float(6).bitPattern | 0x8000_0000 && orders[0] == orders[8] && orders[9] > orders[8])
    #expect(esp_order_largest([1, 5, 2, 5], 4) == 1 && esp_order_largest([7], 1) == 0)
    var selected = [UInt32](repeating: 99, count: 4)
    var ties: UInt64 = 1
    #expect(esp_order_collect([4, 4, 9, 4], 4, 4, &ties, 3, &selected) == 3)
    #expect(Array(selected.prefix(3)) == [0, 2, 3] && ties == 0)
  }
}
