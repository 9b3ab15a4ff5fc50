import EspLayers
import TestSupport
import Testing

/// Inputs of one batch normalisation; padding lanes hold large finite values in x, and zeros in d.
struct BatchNormCase: Sendable, CustomTestStringConvertible {
  let shape: LayerShape
  let relu: Bool
  var mean: Float = 0.3
  var deviation: Float = 1
  let epsilon: Float = 1e-5

  static let all: [BatchNormCase] = [1, 31, 33, 64].flatMap { samples in
    LayerShape.allLanes.flatMap { lanes in
      [(1, 1), (3, 1), (4, 5), (2, 49)].map { channels, positions in
        let shape = LayerShape(channels: channels, positions: positions, samples: samples, lanes: lanes)
        return BatchNormCase(shape: shape, relu: (channels + lanes) % 2 == 0)
      }
    }
  }

  var testDescription: String { "\(shape)\(relu ? ", ReLU" : "")" }

  var x: [Float] {
    var random = LayerRandom(seed: UInt64(shape.count))
    let values = random.floats(shape.count).map { mean + deviation * $0 }
    return shape.padded(values, with: 3e38)
  }

  var d: [Float] {
    var random = LayerRandom(seed: UInt64(shape.count + 1))
    return shape.padded(random.floats(shape.count), with: 0)
  }

  var scale: [Float] { (0..<shape.channels).map { [1.5, -0.7, 1, 0.25][$0 % 4] } }
  var shift: [Float] { (0..<shape.channels).map { [0.1, 0.3, -0.4, 0][$0 % 4] } }

  /// What the block adds where `residual`; padding lanes hold large finite values.
  var r: [Float]? {
    var random = LayerRandom(seed: UInt64(shape.count + 2))
    return residual ? shape.padded(random.floats(shape.count), with: -2e38) : nil
  }

  /// Runs `body` on the kernels' view of the case, with a workspace of NaN that it may not leave.
  func withNorm(_ body: (UnsafePointer<esp_batch_norm>, UnsafeMutablePointer<Double>) -> Void) {
    scale.withUnsafeBufferPointer { scale in
      shift.withUnsafeBufferPointer { shift in
        var norm = esp_batch_norm(
          channels: shape.channels, positions: shape.positions, samples: shape.samples, lanes: shape.lanes,
          scale: scale.baseAddress, shift: shift.baseAddress, epsilon: epsilon, relu: relu ? 1 : 0)
        let workspace = [Double](repeating: .nan, count: esp_batch_norm_workspace(&norm))
        body(&norm, GuardedBuffer(workspace, guarding: .behind).base)
      }
    }
  }

  /// Mean, variance, then the output by them.
  func train(_ x: [Float], _ isa: esp_isa, _ threads: Int32) -> [Float] {
    var mean = LayerHarness.nans(shape.channels)
    var variance = mean
    var y = LayerHarness.nans(shape.count)
    withNorm { esp_batch_norm_train(isa, $0, x, r, &y, &mean, &variance, $1, threads) }
    return mean + variance + y
  }

  /// Mean, then variance.
  func statistics(_ x: [Float], _ isa: esp_isa, _ threads: Int32) -> [Float] {
    Array(train(x, isa, threads).prefix(2 * shape.channels))
  }

  func forward(_ x: [Float], _ mean: [Float], _ variance: [Float], _ isa: esp_isa, _ threads: Int32) -> [Float] {
    var y = LayerHarness.nans(shape.count)
    withNorm { norm, _ in esp_batch_norm_forward(isa, norm, x, r, mean, variance, &y, threads) }
    return y
  }

  /// dx, then the scale's and the shift's gradient, the sums of dx, and the residual's gradient where the kernel makes one.
  func backward(
    _ x: [Float], _ y: [Float], _ mean: [Float], _ variance: [Float], _ isa: esp_isa, _ threads: Int32
  ) -> [Float] {
    var dx = LayerHarness.nans(shape.count)
    var residualGradient = dx
    var scaleGradient = LayerHarness.nans(shape.channels)
    var (shiftGradient, sums) = (scaleGradient, scaleGradient)
    withNorm { norm, workspace in
      if relu && residual {
        esp_batch_norm_backward(
          isa, norm, x, y, d, mean, variance, &dx, &residualGradient, &scaleGradient, &shiftGradient, &sums, workspace,
          threads)
      } else {
        esp_batch_norm_backward(
          isa, norm, x, nil, d, mean, variance, &dx, nil, &scaleGradient, &shiftGradient, &sums, workspace, threads)
        residualGradient = []
      }
    }
    return dx + scaleGradient + shiftGradient + sums + residualGradient
  }

  var oracle: LayerNormOracle { LayerNormOracle(shape: shape, epsilon: Double(epsilon), relu: relu) }

  /// The statistics as the kernels receive them: rounded to Float.
  func roundedStatistics(_ x: [Float]) -> (mean: [Float], variance: [Float]) {
    let statistics = (0..<shape.channels).map { oracle.statistics(x.map(Double.init), channel: $0) }
    return (statistics.map { Float($0.mean) }, statistics.map { Float($0.variance) })
  }
}

@Suite struct BatchNormTests {
  static let u = LayerHarness.u

  static func checkStatistics(_ test: BatchNormCase) {
    let x = test.x
    let expected = (0..<test.shape.channels).map { test.oracle.statistics(x.map(Double.init), channel: $0) }
    for values in LayerHarness.outputs({ test.statistics(x, $0, $1) }) {
      LayerHarness.expectClose(Array(values.prefix(test.shape.channels)), expected.map(\.mean)) {
        1.01 * Self.u * abs(expected[$0].mean)
      }
      // Sums in double leave the rounding to Float.
      let varies = test.shape.samples * test.shape.positions > 1
      LayerHarness.expectClose(
        Array(values.suffix(test.shape.channels)), expected.map(\.variance), rejectsZeros: varies
      ) { 1.01 * Self.u * expected[$0].variance }
    }
  }

  @Test(arguments: BatchNormCase.all)
  func statisticsMatchTwoPassesInDouble(_ test: BatchNormCase) { Self.checkStatistics(test) }

  @Test(arguments: LayerShape.allLanes)
  func statisticsSurviveAMeanFarAboveTheDeviation(lanes: Int) {
    let shape = LayerShape(channels: 3, positions: 9, samples: 33, lanes: lanes)
    Self.checkStatistics(BatchNormCase(shape: shape, relu: false, mean: 10_000, deviation: 0.05))
  }

  @Test(arguments: LayerShape.allLanes)
  func aConstantHasNoVariance(lanes: Int) {
    let shape = LayerShape(channels: 2, positions: 7, samples: 33, lanes: lanes)
    let test = BatchNormCase(shape: shape, relu: false, mean: 0.1, deviation: 0)
    for values in LayerHarness.outputs({ test.statistics(test.x, $0, $1) }) {
      #expect(values.prefix(2).allSatisfy { $0 == 0.1 })
      #expect(values.suffix(2).allSatisfy { $0 >= 0 && $0 < 1e-30 })
    }
  }

  @Test(arguments: BatchNormCase.all)
  func forwardMatchesTheDefinition(_ test: BatchNormCase) {
    let shape = test.shape
    let x = test.x
    let (mean, variance) = test.roundedStatistics(x)
    var expected = [Double](repeating: 0, count: shape.count)
    var bound = expected
    for c in 0..<shape.channels {
      for e in shape.elements(ofChannel: c) {
        expected[e] = test.oracle.output(
          Double(x[e]), mean: Double(mean[c]), variance: Double(variance[c]), scale: Double(test.scale[c]),
          shift: Double(test.shift[c]))
        let deviation = (Double(variance[c]) + Double(test.epsilon)).squareRoot()
        let slope = abs(Double(test.scale[c]) * (Double(x[e]) - Double(mean[c]))) / deviation
        bound[e] = 5 * Self.u * (slope + abs(Double(test.shift[c])))
      }
    }
    for y in LayerHarness.outputs({ test.forward(x, mean, variance, $0, $1) }) {
      LayerHarness.expectClose(y, expected) { bound[$0] }
    }
  }

  @Test(arguments: BatchNormCase.all)
  func backwardMatchesTheDefinition(_ test: BatchNormCase) {
    let shape = test.shape
    let x = test.x
    let (mean, variance) = test.roundedStatistics(x)
    // What passes is what the same instruction set's forward let through, to the bit.
    let forwards = LayerHarness.outputs { test.forward(x, mean, variance, $0, $1) }
    let backwards = LayerHarness.outputs { test.backward(x, mean, variance, $0, $1) }
    for (y, values) in zip(forwards, backwards) {
      let expected = test.oracle.gradients(
        x.map(Double.init), test.d.map(Double.init), mean: mean.map(Double.init), variance: variance.map(Double.init),
        scale: test.scale.map(Double.init), passes: y.map { !test.relu || $0 > 0 })
      // With one element a channel the exact gradient vanishes, and the rounding of its terms is left.
      LayerHarness.expectClose(
        Array(values.prefix(shape.count)), expected.input, rejectsZeros: shape.samples * shape.positions > 1
      ) { 8 * Self.u * expected.inputMagnitude[$0] }
      let sums = Array(values.dropFirst(shape.count))
      LayerHarness.expectClose(
        Array(sums.prefix(shape.channels)), expected.scale, rejectsZeros: shape.samples * shape.positions > 1
      ) { 3 * Self.u * expected.scaleMagnitude[$0] }
      LayerHarness.expectClose(
        Array(sums.suffix(shape.channels)), expected.shift, rejectsZeros: expected.shift.contains { $0 != 0 }
      ) { 1.01 * Self.u * expected.shiftMagnitude[$0] }
      for e in 0..<shape.count where shape.isPadding(e) { #expect(values[e].bitPattern == 0) }
    }
  }

  /// The oracle's gradients are those of the objective: central differences, in Double.
  @Test(arguments: [false, true])
  func theOracleMatchesCentralDifferences(relu: Bool) {
    let test = BatchNormCase(shape: LayerShape(channels: 2, positions: 3, samples: 5, lanes: 8), relu: relu)
    let shape = test.shape
    let x = test.x.map(Double.init)
    let d = test.d.map(Double.init)
    let scale = test.scale.map(Double.init)
    let shift = test.shift.map(Double.init)
    let statistics = (0..<2).map { test.oracle.statistics(x, channel: $0) }
    var passes = [Bool](repeating: true, count: shape.count)
    for c in 0..<2 {
      for e in shape.elements(ofChannel: c) where relu {
        passes[e] =
          test.oracle.output(
            x[e], mean: statistics[c].mean, variance: statistics[c].variance, scale: scale[c], shift: shift[c]) > 0
      }
    }
    let expected = test.oracle.gradients(
      x, d, mean: statistics.map(\.mean), variance: statistics.map(\.variance), scale: scale, passes: passes)
    let h = 1e-6
    for c in 0..<2 {
      for e in shape.elements(ofChannel: c) {
        var above = x
        var below = x
        above[e] += h
        below[e] -= h
        let difference =
          test.oracle.objective(above, d, channel: c, scale: scale[c], shift: shift[c])
          - test.oracle.objective(below, d, channel: c, scale: scale[c], shift: shift[c])
        #expect(abs(difference / (2 * h) - expected.input[e]) < 1e-7)
      }
      let byScale =
        test.oracle.objective(x, d, channel: c, scale: scale[c] + h, shift: shift[c])
        - test.oracle.objective(x, d, channel: c, scale: scale[c] - h, shift: shift[c])
      #expect(abs(byScale / (2 * h) - expected.scale[c]) < 1e-7)
      let byShift =
        test.oracle.objective(x, d, channel: c, scale: scale[c], shift: shift[c] + h)
        - test.oracle.objective(x, d, channel: c, scale: scale[c], shift: shift[c] - h)
      #expect(abs(byShift / (2 * h) - expected.shift[c]) < 1e-7)
    }
  }

  @Test func notANumberReachesTheOutput() {
    let test = BatchNormCase(shape: LayerShape(channels: 1, positions: 40, samples: 1, lanes: 1), relu: true)
    var x = test.x
    x[7] = .nan
    for isa in LayerHarness.isas { #expect(test.forward(x, [0], [1], isa, 1)[7].isNaN) }
  }
}
