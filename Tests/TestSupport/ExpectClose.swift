import Testing

/// What an oracle says: each value, the sum of the magnitudes of the terms that it is made of, and how many they are.
public struct Expectation: Sendable {
  public private(set) var values: [Double]
  public private(set) var magnitudes: [Double]
  public private(set) var terms: [Int]

  /// `count` empty sums.
  public init(count: Int) {
    values = Array(repeating: 0, count: count)
    magnitudes = Array(repeating: 0, count: count)
    terms = Array(repeating: 0, count: count)
  }

  public mutating func add(_ term: Double, to index: Int) {
    values[index] += term
    magnitudes[index] += abs(term)
    terms[index] += 1
  }

  /// How far n Float products, summed in any order and with or without fused multiply-adds, may be from their sum:
  /// (n + 1) u / (1 - (n + 1) u) * sum |terms|, u = 2^-24.
  ///
  /// Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1.
  public func bound(_ index: Int) -> Double {
    let nu = Double(terms[index] + 1) * 0x1p-24
    return nu / (1 - nu) * magnitudes[index]
  }
}

/// Describes the first element of `actual` that is further from the expectation than rounding explains; nil if none is.
public func firstMismatch(_ actual: [Float], _ expected: Expectation) -> String? {
  guard actual.count == expected.values.count else {
    return "\(actual.count) elements, expected \(expected.values.count)"
  }
  for (i, value) in actual.enumerated() {
    let error = abs(Double(value) - expected.values[i])
    let bound = expected.bound(i)
    // Written so that NaN is a mismatch.
    if !(error <= bound) {
      return "element \(i) is \(value), expected \(expected.values[i]) within \(bound)"
    }
  }
  return nil
}

/// Records an issue where an element of `actual` is further from the expectation than rounding explains.
public func expectClose(
  _ actual: [Float], _ expected: Expectation, _ context: @autoclosure () -> String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  if let mismatch = firstMismatch(actual, expected) {
    Issue.record("\(context()): \(mismatch)", sourceLocation: sourceLocation)
  }
}

/// Records an issue where the two arrays differ in any bit.
public func expectSameBits(
  _ actual: [Float], _ expected: [Float], _ context: @autoclosure () -> String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count else {
    Issue.record("\(context()): \(actual.count) elements, expected \(expected.count)", sourceLocation: sourceLocation)
    return
  }
  for i in actual.indices where actual[i].bitPattern != expected[i].bitPattern {
    Issue.record("\(context()): element \(i) is \(actual[i]), not \(expected[i])", sourceLocation: sourceLocation)
    return
  }
}
