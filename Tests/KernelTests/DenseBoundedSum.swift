import Testing

/// Sums of products in Double, with the sums of their magnitudes, which bound the rounding of any order in Float.
struct DenseBoundedSum: Sendable {
  private(set) var values: [Double]
  private var magnitudes: [Double]
  private let terms: Int

  /// `terms`: how many products each sum has at most.
  init(count: Int, terms: Int) {
    values = [Double](repeating: 0, count: count)
    magnitudes = values
    self.terms = terms
  }

  mutating func add(_ a: Float, _ b: Float, at index: Int) {
    let product = Double(a) * Double(b)
    values[index] += product
    magnitudes[index] += abs(product)
  }

  /// n terms summed in any order err by at most n * u * sum |terms|, u = 2^-24, to first order; twice that is allowed.
  func accepts(_ found: [Float]) -> Bool {
    found.count == values.count
      && found.indices.allSatisfy { i in
        abs(Double(found[i]) - values[i]) <= Double(terms) * Double(Float.ulpOfOne) * magnitudes[i]
      }
  }
}

/// Runs `kernel` with 1, 2, 3 and 5 threads into outputs full of NaN; all must be right and equal to the bit.
func expectRightForAnyThreads(
  _ expected: DenseBoundedSum, sourceLocation: SourceLocation = #_sourceLocation,
  kernel: (UnsafeMutablePointer<Float>, Int32) -> Void
) {
  var first: [UInt32] = []
  for threads in [1, 2, 3, 5] as [Int32] {
    var output = [Float](repeating: .nan, count: expected.values.count)
    output.withUnsafeMutableBufferPointer { kernel($0.baseAddress!, threads) }
    #expect(expected.accepts(output), "\(threads) threads", sourceLocation: sourceLocation)
    let bits = output.map(\.bitPattern)
    if first.isEmpty { first = bits }
    #expect(bits == first, "\(threads) threads", sourceLocation: sourceLocation)
  }
}

/// Numbers in -1 ..< 1 that depend on `seed` and index alone (splitmix64).
func denseNoise(_ count: Int, seed: UInt64) -> [Float] {
  (0..<count).map { i in
    var z = (UInt64(i) &+ seed << 32) &* 0x9e37_79b9_7f4a_7c15
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return Float((z ^ z >> 31) >> 40) / Float(1 << 23) - 1
  }
}
