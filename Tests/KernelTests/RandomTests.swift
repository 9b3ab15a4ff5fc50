import EspSampling
import TestSupport
import Testing

@Suite struct RandomTests {
  static let key = esp_random_key(seed: 0x0123_4567_89AB_CDEF, stream: 0x0280_0003, step: 17)

  /// Random123's known answers for philox4x32, 10 rounds.
  @Test(
    arguments: [
      ([0, 0, 0, 0], [0, 0], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
      (
        [0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff], [0xffff_ffff, 0xffff_ffff],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
      ),
      (
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
      ),
    ] as [([UInt32], [UInt32], [UInt32])])
  func philoxGivesTheKnownAnswers(counter: [UInt32], key: [UInt32], expected: [UInt32]) {
    var out = [UInt32](repeating: 0, count: 4)
    esp_philox4x32(counter, key, &out)
    #expect(out == expected)
  }

  @Test func bitsAreTheBlockOfIndexStepAndStream() {
    let index: UInt64 = 0xFEDC_BA98_7654_3210
    var out = [UInt32](repeating: 0, count: 4)
    esp_philox4x32([0x7654_3210, 0xFEDC_BA98, 17, 0x0280_0003], [0x89AB_CDEF, 0x0123_4567], &out)
    #expect(esp_random_bits(Self.key, index) == UInt64(out[0]) | UInt64(out[1]) << 32)
  }

  @Test(arguments: [2, 7, 64, 1000] as [UInt64])
  func belowIsUniform(n: UInt64) {
    var counts = [Int](repeating: 0, count: Int(n))
    for index in 0..<100_000 { counts[Int(esp_random_below(Self.key, UInt64(index), n))] += 1 }
    let statistic = LayerStatistics.chiSquared(uniform: counts)
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: Int(n) - 1))
  }

  @Test func belowStaysInRange() {
    for n in [1, 2, 3, 1 << 32, 1 << 63, .max] as [UInt64] {
      for index in 0..<1000 { #expect(esp_random_below(Self.key, UInt64(index), n) < n) }
    }
  }

  @Test func uniformFloatsFillTheirRangeEvenly() {
    let count = 64_000
    var values = LayerHarness.nans(count)
    esp_random_uniform_f32(Self.key, 0, count, -3, 5, &values)
    var bins = [Int](repeating: 0, count: 64)
    for value in values {
      #expect(value >= -3 && value < 5)
      bins[Int((value + 3) * 8)] += 1
    }
    let statistic = LayerStatistics.chiSquared(uniform: bins)
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: 63))
    // Numbers belong to their index, wherever a call starts.
    var later = LayerHarness.nans(100)
    esp_random_uniform_f32(Self.key, 777, 100, -3, 5, &later)
    #expect(later == Array(values[777..<877]))
  }

  /// Ranges in which low + (high - low) * u rounds up to high.
  @Test(arguments: [(1, Float(1).nextUp), (16_777_216, 16_777_218), (-1, 1e-9), (-2, -1)] as [(Float, Float)])
  func uniformFloatsStayBelowTheirEnd(low: Float, high: Float) {
    var values = LayerHarness.nans(10_000)
    esp_random_uniform_f32(Self.key, 0, values.count, low, high, &values)
    #expect(values.allSatisfy { $0 >= low && $0 < high })
  }

  @Test(arguments: [0, 1, 2, 9, 1000])
  func permutationsHoldEveryNumberOnce(n: Int) {
    var permutation = [UInt32](repeating: .max, count: n)
    esp_random_permutation(Self.key, n, &permutation)
    #expect(permutation.sorted() == (0..<UInt32(n)).map { $0 })
  }

  @Test func permutationsAreEquallyLikely() {
    var counts: [[UInt32]: Int] = [:]
    for step in 0..<24_000 {
      var permutation = [UInt32](repeating: .max, count: 4)
      esp_random_permutation(esp_random_key(seed: 5, stream: 1, step: UInt32(step)), 4, &permutation)
      counts[permutation, default: 0] += 1
    }
    #expect(counts.count == 24)
    let statistic = LayerStatistics.chiSquared(uniform: Array(counts.values))
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: 23))
  }

  @Test(arguments: [0, 1, 2, 3, 255, 256, 1000], [8, 20, 33, 64])
  func radixSortSorts(count: Int, bits: Int) {
    var random = LayerRandom(seed: UInt64(count * 100 + bits))
    var keys = (0..<count).map { _ in random.next() >> UInt64(64 - bits) }
    let expected = keys.sorted()
    var workspace = [UInt64](repeating: 0, count: count)
    esp_sort_u64(&keys, count, &workspace)
    #expect(keys == expected)
  }
}
