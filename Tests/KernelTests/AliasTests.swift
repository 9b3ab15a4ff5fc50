import EspSampling
import TestSupport
import Testing

/// A table that owns its arrays, with guards behind their ends.
private struct Table {
  let weights: [Double]
  private(set) var threshold: [Double]
  private(set) var alias: [UInt32]

  init(_ weights: [Double]) {
    self.weights = weights
    threshold = [Double](repeating: .nan, count: weights.count + 2)
    alias = [UInt32](repeating: 0xDEAD, count: weights.count + 2)
    var workspace = [UInt32](repeating: 0xDEAD, count: weights.count + 2)
    esp_alias_build(weights, weights.count, &threshold, &alias, &workspace)
    let isIntact =
      threshold.suffix(2).allSatisfy(\.isNaN) && alias.suffix(2) == [0xDEAD, 0xDEAD]
      && workspace.suffix(2) == [0xDEAD, 0xDEAD]
    #expect(isIntact, "written beyond the end")
  }

  func draw(_ count: Int, _ key: esp_random_key) -> [Int] {
    threshold.withUnsafeBufferPointer { threshold in
      alias.withUnsafeBufferPointer { alias in
        var table = esp_alias(n: weights.count, threshold: threshold.baseAddress, alias: alias.baseAddress)
        return (0..<count).map { esp_alias_draw(&table, key, UInt64($0)) }
      }
    }
  }

  /// The probability of each number, from the table itself.
  var probabilities: [Double] {
    var result = [Double](repeating: 0, count: weights.count)
    for i in weights.indices {
      result[i] += threshold[i] / Double(weights.count)
      result[Int(alias[i])] += (1 - threshold[i]) / Double(weights.count)
    }
    return result
  }
}

@Suite struct AliasTests {
  private static let key = esp_random_key(seed: 5, stream: 3, step: 1)

  static let distributions: [[Double]] = [
    [1], [3, 1], [Double](repeating: 0.7, count: 37), (1...64).map { 1 / Double($0 * $0) },
    (0..<30).map { $0 % 3 == 0 ? 0 : Double($0) }, [0, 0, 5, 0, 0, 0, 0], [-2, 1, -3, 0, 4],
    (0..<24).map { i in (0..<i).reduce(1) { product, _ in product * 0.5 } }, [1e-300, 3e-300, 2e-300],
    [1e300, 1e299, 5e299],
  ]

  /// Pearson's statistic at a million draws; what weighs nothing is never drawn.
  @Test(arguments: distributions)
  func drawsFollowTheWeights(weights: [Double]) {
    let draws = 1_000_000
    var counts = [Int](repeating: 0, count: weights.count)
    for i in Table(weights).draw(draws, Self.key) { counts[i] += 1 }
    let mass = weights.reduce(0) { $0 + abs($1) }
    var statistic = 0.0
    var (cells, rare, rareCount) = (0, 0.0, 0.0)
    for (weight, count) in zip(weights, counts) {
      let expected = Double(draws) * (abs(weight) / mass)
      #expect(weight != 0 || count == 0)
      if expected >= 10 {
        statistic += (Double(count) - expected) * (Double(count) - expected) / expected
        cells += 1
      } else {
        rare += expected
        rareCount += Double(count)
      }
    }
    if rare > 0 {
      statistic += (rareCount - rare) * (rareCount - rare) / rare
      cells += 1
    }
    if cells > 1 { #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: cells - 1)) }
  }

  @Test func tablesHoldTheWeights() {
    var random = LayerRandom(seed: 8)
    let large = (0..<5000).map { _ in
      Double.random(in: 0...1, using: &random) > 0.3 ? Double.random(in: -9...9, using: &random) : 0
    }
    for weights in Self.distributions + [large] {
      let mass = weights.reduce(0) { $0 + abs($1) }
      let error = Double(weights.count) * 4 * Double.ulpOfOne
      for (p, weight) in zip(Table(weights).probabilities, weights) {
        #expect(abs(p - abs(weight) / mass) <= error)
        #expect(weight != 0 || p == 0)
      }
    }
  }

  @Test(arguments: [[0, 0, 0], [1, .nan, 2], [1, .infinity, 2], [-Double.infinity, 0, 0]])
  func withoutMassAllAreAlike(weights: [Double]) {
    let draws = Table(weights).draw(3000, Self.key)
    #expect(draws == (0..<3000).map { Int(esp_random_below(Self.key, $0, 3)) })
  }
}

@Suite struct NormalTests {
  /// Mean, variance, and the shares within one and two deviations.
  @Test func followTheNormalDistribution() {
    let n = 200_000
    var values = [Float](repeating: .nan, count: n)
    esp_random_normal_f32(esp_random_key(seed: 6, stream: 2, step: 0), 0, n, 0.5, &values)
    let z = values.map { Double($0) / 0.5 }
    let mean = z.reduce(0, +) / Double(n)
    let variance = z.reduce(0) { $0 + $1 * $1 } / Double(n)
    #expect(abs(mean) < 4 / Double(n).squareRoot())
    #expect(abs(variance - 1) < 4 * (2 / Double(n)).squareRoot())
    for (limit, share) in [(1.0, 0.6826894921), (2.0, 0.9544997361), (3.0, 0.9973002039)] {
      let inside = Double(z.count { abs($0) < limit }) / Double(n)
      #expect(abs(inside - share) < 4 * (share * (1 - share) / Double(n)).squareRoot())
    }
    var again = [Float](repeating: .nan, count: 10)
    esp_random_normal_f32(esp_random_key(seed: 6, stream: 2, step: 0), 1000, 10, 0.5, &again)
    #expect(again == Array(values[1000..<1010]), "a number depends on its place alone")
  }
}
