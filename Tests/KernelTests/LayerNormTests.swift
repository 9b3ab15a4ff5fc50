import EspLayers
import TestSupport
import Testing

/// Inputs of one layer normalisation; padding lanes hold the largest values in x, and zeros in d.
struct LayerNormCase: Sendable, CustomTestStringConvertible {
  let shape: LayerShape
  var mean: Float = 0.3
  var deviation: Float = 1
  static let epsilon: Float = 1e-5

  /// Tokens below, at and above those that are worked on at once; features below and above those that are added in float.
  static let all: [LayerNormCase] = LayerShape.allLanes.flatMap { lanes in
    [(1, 3, 33), (2, 1, 31), (7, 5, 33), (8, 16, 32), (21, 67, 9), (40, 520 / lanes + 1, 33)].map {
      LayerNormCase(shape: LayerShape(channels: $0, positions: $1, samples: $2, lanes: lanes, areTokens: true))
    }
  }
  static let farFromZero = LayerShape.allLanes.map {
    LayerNormCase(
      shape: LayerShape(channels: 33, positions: 3, samples: 9, lanes: $0, areTokens: true), mean: 1000, deviation: 0.5)
  }

  var testDescription: String { "\(shape), mean \(mean)" }
  var columns: Int { shape.blocks * shape.positions * shape.lanes }

  var x: [Float] {
    var random = LayerRandom(seed: UInt64(shape.count))
    let values = random.floats(shape.count).map { mean + deviation * $0 }
    return shape.padded(values, with: 3e38)
  }
  var d: [Float] {
    var random = LayerRandom(seed: UInt64(shape.count + 1))
    return shape.padded(random.floats(shape.count), with: 0)
  }
  var scale: [Float] { (0..<shape.channels).map { [1.5, -0.7, 1, 0.25, -2][$0 % 5] } }
  var shift: [Float] { (0..<shape.channels).map { [0.1, 0.3, -0.4, 0][$0 % 4] } }

  /// Y, then means, then inverse deviations.
  func forward(_ isa: esp_isa, _ threads: Int32) -> [Float] {
    let side: GuardedSide = threads % 2 == 0 ? .before : .behind
    let x = GuardedBuffer(self.x, guarding: side)
    let y = GuardedBuffer(LayerHarness.nans(shape.count), guarding: side)
    let mean = GuardedBuffer(LayerHarness.nans(columns), guarding: side)
    let inverse = GuardedBuffer(LayerHarness.nans(columns), guarding: side)
    esp_layer_norm_forward(
      isa, x.base, scale, shift, Self.epsilon, shape.samples, shape.channels, shape.positions, shape.lanes, y.base,
      mean.base, inverse.base, threads)
    return y.contents + mean.contents + inverse.contents
  }

  /// dx, then the scale's and the shift's gradient.
  func backward(_ mean: [Float], _ inverse: [Float], _ isa: esp_isa, _ threads: Int32) -> [Float] {
    let side: GuardedSide = threads % 2 == 0 ? .before : .behind
    let x = GuardedBuffer(self.x, guarding: side)
    let d = GuardedBuffer(self.d, guarding: side)
    let dx = GuardedBuffer(LayerHarness.nans(shape.count), guarding: side)
    let scaleGradient = GuardedBuffer(LayerHarness.nans(shape.channels), guarding: side)
    let shiftGradient = GuardedBuffer(LayerHarness.nans(shape.channels), guarding: side)
    let count = esp_layer_norm_workspace(shape.samples, shape.channels, shape.positions, shape.lanes)
    let workspace = GuardedBuffer([Double](repeating: .nan, count: count), guarding: side)
    esp_layer_norm_backward(
      isa, x.base, d.base, scale, mean, inverse, shape.samples, shape.channels, shape.positions, shape.lanes, dx.base,
      scaleGradient.base, shiftGradient.base, workspace.base, threads)
    return dx.contents + scaleGradient.contents + shiftGradient.contents
  }

  /// Calls `body` with every real token's elements, and its place in the statistics.
  func forEachToken(_ body: (_ elements: [Int], _ column: Int) -> Void) {
    for sample in 0..<shape.samples {
      for token in 0..<shape.positions {
        body(
          (0..<shape.channels).map { shape.index(sample, $0, token) },
          (sample / shape.lanes * shape.positions + token) * shape.lanes + sample % shape.lanes)
      }
    }
  }
}

@Suite struct LayerNormTests {
  static let u = LayerHarness.u

  @Test(arguments: LayerNormCase.all + LayerNormCase.farFromZero)
  func forwardMatchesTheDefinition(_ test: LayerNormCase) {
    let x = test.x.map(Double.init)
    let n = Double(test.shape.channels)
    // Padding lanes: 0 in the statistics, the shift in y.
    var expected = (0..<test.shape.count).map { Double(test.shift[$0 / test.shape.lanes % test.shape.channels]) }
    expected += [Double](repeating: 0, count: 2 * test.columns)
    var bound = [Double](repeating: 0, count: expected.count)
    test.forEachToken { elements, column in
      let mean = elements.reduce(0) { $0 + x[$1] } / n
      let variance = elements.reduce(0) { $0 + (x[$1] - mean) * (x[$1] - mean) } / n
      let inverse = 1 / (variance + Double(LayerNormCase.epsilon)).squareRoot()
      let spread = elements.reduce(0) { max($0, abs(x[$1] - mean)) }
      let meanBound = 1.01 * Self.u * (abs(mean) + 2 * spread)
      expected[test.shape.count + column] = mean
      bound[test.shape.count + column] = meanBound
      expected[test.shape.count + test.columns + column] = inverse
      bound[test.shape.count + test.columns + column] = 4 * Self.u * inverse * (1 + spread * inverse)
      for (f, e) in elements.enumerated() {
        let scale = Double(test.scale[f])
        expected[e] = scale * (x[e] - mean) * inverse + Double(test.shift[f])
        bound[e] =
          abs(scale) * inverse * (meanBound + (8 + 4 * spread * inverse) * Self.u * abs(x[e] - mean))
          + 2 * Self.u * abs(Double(test.shift[f]))
      }
    }
    for values in LayerHarness.outputs({ test.forward($0, $1) }) {
      LayerHarness.expectClose(values, expected) { bound[$0] }
    }
  }

  @Test(arguments: LayerNormCase.all + LayerNormCase.farFromZero)
  func backwardMatchesTheDefinition(_ test: LayerNormCase) {
    let shape = test.shape
    let x = test.x.map(Double.init)
    let d = test.d.map(Double.init)
    let n = Double(shape.channels)
    var mean = [Float](repeating: 0, count: test.columns)
    var inverse = mean
    var dx = [Double](repeating: 0, count: shape.count)
    var dxMagnitude = dx
    var scale = [Double](repeating: 0, count: shape.channels)
    var (scaleMagnitude, shift, shiftMagnitude) = (scale, scale, scale)
    test.forEachToken { elements, column in
      let average = elements.reduce(0) { $0 + x[$1] } / n
      let variance = elements.reduce(0) { $0 + (x[$1] - average) * (x[$1] - average) } / n
      mean[column] = Float(average)
      inverse[column] = Float(1 / (variance + Double(LayerNormCase.epsilon)).squareRoot())
      let factor = Double(inverse[column])
      let normal = elements.map { (x[$0] - Double(mean[column])) * factor }
      let g = elements.enumerated().map { f, e in d[e] * Double(test.scale[f]) }
      let gradient = g.reduce(0, +) / n
      let gradientMagnitude = g.reduce(0) { $0 + abs($1) } / n
      let product = zip(g, normal).reduce(0) { $0 + $1.0 * $1.1 } / n
      let productMagnitude = zip(g, normal).reduce(0) { $0 + abs($1.0 * $1.1) } / n
      for (f, e) in elements.enumerated() {
        dx[e] = factor * (g[f] - gradient - normal[f] * product)
        dxMagnitude[e] = factor * (abs(g[f]) + gradientMagnitude + abs(normal[f]) * productMagnitude)
        scale[f] += d[e] * normal[f]
        scaleMagnitude[f] += abs(d[e] * normal[f])
        shift[f] += d[e]
        shiftMagnitude[f] += abs(d[e])
      }
    }
    for values in LayerHarness.outputs({ test.backward(mean, inverse, $0, $1) }) {
      // With one feature the exact gradient vanishes, and so does the one of scale; with two, dx nearly does.
      LayerHarness.expectClose(Array(values.prefix(shape.count)), dx, rejectsZeros: shape.channels > 2) {
        18 * Self.u * dxMagnitude[$0]  // eight terms in float
      }
      let sums = Array(values.dropFirst(shape.count))
      LayerHarness.expectClose(Array(sums.prefix(shape.channels)), scale, rejectsZeros: shape.channels > 1) {
        12 * Self.u * scaleMagnitude[$0]
      }
      // 16 lanes of four tokens are added by a tree in float: seven roundings.
      LayerHarness.expectClose(Array(sums.suffix(shape.channels)), shift) { 8.01 * Self.u * shiftMagnitude[$0] }
      let clean = (0..<shape.count).allSatisfy { !shape.isPadding($0) || values[$0] == 0 }
      #expect(clean)
    }
  }

  @Test func notANumberReachesTheOutput() {
    for isa in LayerHarness.isas {
      var x = [Float](repeating: 1, count: 4 * 8)
      x[8 + 3] = .nan
      var y = LayerHarness.nans(32)
      var mean = LayerHarness.nans(8)
      var inverse = mean
      let ones = [Float](repeating: 1, count: 4)
      esp_layer_norm_forward(isa, x, ones, ones, 1e-5, 8, 4, 1, 8, &y, &mean, &inverse, 1)
      let own = y.indices.allSatisfy { y[$0].isNaN == ($0 % 8 == 3) }
      #expect(own)
    }
  }
}
