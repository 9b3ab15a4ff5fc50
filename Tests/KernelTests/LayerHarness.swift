import EspLayers
import EspRuntime
import Testing

/// What the tests of all layer kernels share.
enum LayerHarness {
  /// Half a unit in the last place of 1: the largest relative error of one rounding.
  static let u = Double(Float.ulpOfOne) / 2

  static let threads: [Int32] = [1, 2, 3, 5]

  static let isas: [esp_isa] = (0..<ESP_ISA_COUNT.rawValue).map { esp_isa(rawValue: $0) }.filter {
    esp_isa_available($0) == 1
  }

  static func nans(_ count: Int) -> [Float] { [Float](repeating: .nan, count: count) }

  /// Every instruction set's outputs, which must be bitwise equal for every number of threads.
  static func outputs(
    sourceLocation: SourceLocation = #_sourceLocation, _ kernel: (esp_isa, Int32) -> [Float]
  ) -> [[Float]] {
    isas.map { isa in
      let first = kernel(isa, threads[0])
      for count in threads.dropFirst() {
        let same = sameBits(first, kernel(isa, count))
        #expect(same, "\(String(cString: esp_isa_name(isa))), \(count) threads", sourceLocation: sourceLocation)
      }
      return first
    }
  }

  static func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
    a.map(\.bitPattern) == b.map(\.bitPattern)
  }

  /// Expects |actual - expected| <= bound everywhere, and bounds so narrow that a kernel that writes zeros would fail.
  static func expectClose(
    _ actual: [Float], _ expected: [Double], rejectsZeros: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation, bound: (Int) -> Double
  ) {
    #expect(actual.count == expected.count, sourceLocation: sourceLocation)
    let wrong = zip(actual, expected).enumerated().first { i, pair in
      !(abs(Double(pair.0) - pair.1) <= bound(i))
    }
    if let (i, pair) = wrong {
      Issue.record(
        "element \(i): \(pair.0), expected \(pair.1) within \(bound(i))", sourceLocation: sourceLocation)
    }
    if rejectsZeros {
      let rejected = expected.indices.contains { abs(expected[$0]) > bound($0) }
      #expect(rejected, "zeros would pass", sourceLocation: sourceLocation)
    }
  }
}
