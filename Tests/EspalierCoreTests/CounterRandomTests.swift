import EspalierCore
import TestSupport
import Testing

@Suite struct CounterRandomTests {
  static let purposes: [CounterRandom.Purpose] = [
    .topology, .weights, .biases, .candidates, .shuffle, .augmentation, .dropout, .growth, .syntheticData,
  ]

  /// Raw values are part of every run's identity.
  @Test func purposesKeepTheirNumbers() {
    #expect(Self.purposes.map(\.rawValue) == Array(1...9))
  }

  @Test func streamsOfDifferentNamesDiffer() {
    var seen = Set<[UInt64]>()
    var streams = 0
    for seed in [0, 1, .max] as [UInt64] {
      for purpose in Self.purposes {
        for layer in [0, 1, 2, 255, (1 << 23) - 1] {
          for step in [0, 1, 1000, (1 << 32) - 1] {
            let stream = CounterRandom(seed: seed).stream(purpose, layer: layer, step: step)
            seen.insert((0..<2).map { stream.bits($0) })
            streams += 1
          }
        }
      }
    }
    #expect(seen.count == streams)
  }

  @Test func numbersAreAPureFunctionOfTheirIndex() {
    let stream = CounterRandom(seed: 7).stream(.weights, layer: 4)
    let forwards = (0..<100).map { stream.bits($0) }
    let backwards = (0..<100).reversed().map { CounterRandom(seed: 7).stream(.weights, layer: 4).bits($0) }
    #expect(forwards == backwards.reversed())
    #expect(Set(forwards).count == 100)
  }

  private static func fill(_ count: Int, from first: UInt64 = 0, in range: Range<Float>) -> [Float] {
    var numbers = [Float](repeating: .nan, count: count)
    numbers.withUnsafeMutableBufferPointer {
      CounterRandom(seed: 8).stream(.weights).fill($0, from: first, in: range)
    }
    return numbers
  }

  @Test func fillContinuesWhereItIsTold() {
    let all = Self.fill(1000, in: -2..<3)
    for first in [0, 1, 2, 3, 4, 5, 500, 997] {
      #expect(Self.fill(3, from: UInt64(first), in: -2..<3) == Array(all[first..<first + 3]))
    }
    #expect(Self.fill(0, in: 0..<1).isEmpty)
  }

  @Test(arguments: [Float(0)..<1, -1..<1, 2..<3, -0.001..<0.001])
  func fillIsUniformInItsRange(range: Range<Float>) {
    let numbers = Self.fill(100_000, in: range)
    #expect(numbers.allSatisfy { $0 >= range.lowerBound && $0 < range.upperBound })
    var counts = [Int](repeating: 0, count: 50)
    let width = Double(range.upperBound - range.lowerBound)
    for number in numbers { counts[min(49, Int(Double(number - range.lowerBound) / width * 50))] += 1 }
    #expect(LayerStatistics.isPlausible(chiSquared: LayerStatistics.chiSquared(uniform: counts), degrees: 49))
  }

  @Test(arguments: [1, 2, 7, 1000])
  func belowIsUniform(bound: UInt64) {
    let stream = CounterRandom(seed: 9).stream(.shuffle)
    var counts = [Int](repeating: 0, count: Int(bound))
    for i in 0..<50_000 { counts[Int(stream.below(bound, at: UInt64(i)))] += 1 }
    guard bound > 1 else { return }
    #expect(
      LayerStatistics.isPlausible(chiSquared: LayerStatistics.chiSquared(uniform: counts), degrees: Int(bound) - 1))
  }

  @Test(arguments: [0, 1, 2, 3, 100, 4097])
  func permutationHoldsEveryNumberOnce(count: Int) {
    for step in 0..<5 {
      let permutation = CounterRandom(seed: 10).stream(.shuffle, step: step).permutation(count: count)
      #expect(permutation.sorted() == (0..<count).map(UInt32.init))
    }
  }

  /// All 24 permutations of four are equally likely.
  @Test func permutationsAreUniform() {
    var counts: [[UInt32]: Int] = [:]
    for step in 0..<24_000 {
      counts[CounterRandom(seed: 11).stream(.shuffle, step: step).permutation(count: 4), default: 0] += 1
    }
    #expect(counts.count == 24)
    let statistic = LayerStatistics.chiSquared(uniform: Array(counts.values))
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: 23))
  }
}
