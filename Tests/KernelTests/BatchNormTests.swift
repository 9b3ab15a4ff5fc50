import EspLayers
import TestSupport
import Testing

/// Inputs of one batch normalisation; padding lanes hold large finite values in x, and zeros in d.
struct BatchNormCase: Sendable, CustomTestStringConvertible {
  let shape: LayerShape
  let relu: Bool
  var residual = false
  var mean: Float = 0.3
  var deviation: Float = 1
  let epsilon: Float = 1e-5

  /// Every mix of shapes; ReLU and residual take turns.
  static let all: [BatchNormCase] = [1, 31, 33, 64].enumerated().flatMap { i, samples in
    LayerShape.allLanes.enumerated().flatMap { j, lanes in
      [(1, 1), (3, 1), (4, 5), (2, 49)].enumerated().map { k, size in
        let shape = LayerShape(channels: size.0, positions: size.1, samples: samples, lanes: lanes)
        let turn = (i + j + k) % 4
        return BatchNormCase(shape: shape, relu: turn % 2 == 0, residual: turn >= 2)
      }
    }
  }

  var testDescription: String { "\(shape)\(residual ? ", residual" : "")\(relu ? ", ReLU" : "")" }

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
        let guarded = GuardedBuffer(workspace, guarding: .behind)
        withExtendedLifetime(guarded) { body(&norm, guarded.base) }
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

  struct Gradients {
    var input, residual, scale, shift, sums: [Float]

    func sameBits(as other: Self) -> Bool {
      LayerHarness.sameBits(
        input + residual + scale + shift + sums,
        other.input + other.residual + other.scale + other.shift + other.sums)
    }
  }

  /// Which result is written over d.
  enum InPlace { case none, input, residual }

  func backward(
    _ x: [Float], _ y: [Float], _ mean: [Float], _ variance: [Float], _ isa: esp_isa, _ threads: Int32,
    inPlace: InPlace = .none
  ) -> Gradients {
    let masks = relu && residual
    let d = GuardedBuffer(d, guarding: .behind)
    let dx = inPlace == .input ? d : GuardedBuffer(LayerHarness.nans(shape.count), guarding: .behind)
    let masked = inPlace == .residual ? d : GuardedBuffer(LayerHarness.nans(shape.count), guarding: .behind)
    var scaleGradient = LayerHarness.nans(shape.channels)
    var (shiftGradient, sums) = (scaleGradient, scaleGradient)
    withNorm { norm, workspace in
      esp_batch_norm_backward(
        isa, norm, x, masks ? y : nil, d.base, mean, variance, dx.base, masks ? masked.base : nil, &scaleGradient,
        &shiftGradient, &sums, workspace, threads)
    }
    return Gradients(
      input: dx.contents, residual: masks ? masked.contents : [], scale: scaleGradient,
      shift: shiftGradient, sums: sums)
  }

  /// Mean, then variance.
  func moments(_ x: [Float], _ isa: esp_isa, _ threads: Int32) -> [Float] {
    var mean = LayerHarness.nans(shape.channels)
    var variance = mean
    withNorm { esp_batch_norm_moments(isa, $0, x, &mean, &variance, $1, threads) }
    return mean + variance
  }

  /// The two halves of backward, each with a workspace of its own.
  func backwardInHalves(
    _ x: [Float], _ y: [Float], _ mean: [Float], _ variance: [Float], _ isa: esp_isa, _ threads: Int32
  ) -> Gradients {
    let masks = relu && residual
    var (dx, masked) = (LayerHarness.nans(shape.count), LayerHarness.nans(shape.count))
    var scaleGradient = LayerHarness.nans(shape.channels)
    var (shiftGradient, sums) = (scaleGradient, scaleGradient)
    let d = d
    masked.withUnsafeMutableBufferPointer { masked in
      let masked = masks ? masked.baseAddress : nil
      withNorm { norm, workspace in
        esp_batch_norm_reduce(
          isa, norm, x, masks ? y : nil, d, mean, variance, masked, &scaleGradient, &shiftGradient, workspace, threads)
      }
      withNorm { norm, workspace in
        esp_batch_norm_correct(
          isa, norm, x, masks ? y : nil, d, mean, variance, scaleGradient.map(Double.init),
          shiftGradient.map(Double.init), shape.samples * shape.positions, &dx, masked, &sums, workspace, threads)
      }
    }
    return Gradients(
      input: dx, residual: masks ? masked : [], scale: scaleGradient, shift: shiftGradient, sums: sums)
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
    let residual = test.r
    let (mean, variance) = test.roundedStatistics(x)
    var expected = [Double](repeating: 0, count: shape.count)
    var bound = expected
    for c in 0..<shape.channels {
      for e in shape.elements(ofChannel: c) {
        let added = Double(residual?[e] ?? 0)
        expected[e] = test.oracle.output(
          Double(x[e]), mean: Double(mean[c]), variance: Double(variance[c]), scale: Double(test.scale[c]),
          shift: Double(test.shift[c]) + added)
        let deviation = (Double(variance[c]) + Double(test.epsilon)).squareRoot()
        let slope = abs(Double(test.scale[c]) * (Double(x[e]) - Double(mean[c]))) / deviation
        bound[e] = 5 * Self.u * (slope + abs(Double(test.shift[c])) + abs(added))
      }
    }
    for y in LayerHarness.outputs({ test.forward(x, mean, variance, $0, $1) }) {
      LayerHarness.expectClose(y, expected, rejectsZeros: expected.contains { $0 != 0 }) { bound[$0] }
    }
  }

  @Test(arguments: BatchNormCase.all)
  func trainingIsStatisticsThenForward(_ test: BatchNormCase) {
    let x = test.x
    let channels = test.shape.channels
    for (isa, all) in zip(LayerHarness.isas, LayerHarness.outputs { test.train(x, $0, $1) }) {
      let mean = Array(all[..<channels])
      let variance = Array(all[channels..<2 * channels])
      #expect(LayerHarness.sameBits(Array(all[(2 * channels)...]), test.forward(x, mean, variance, isa, 1)))
    }
  }

  @Test(arguments: BatchNormCase.all)
  func backwardMatchesTheDefinition(_ test: BatchNormCase) {
    let shape = test.shape
    let x = test.x
    let (mean, variance) = test.roundedStatistics(x)
    let isSingle = shape.samples * shape.positions == 1
    for isa in LayerHarness.isas {
      // What passes is what the same instruction set's forward let through, to the bit.
      let y = test.forward(x, mean, variance, isa, 1)
      let expected = test.oracle.gradients(
        x.map(Double.init), test.d.map(Double.init), mean: mean.map(Double.init), variance: variance.map(Double.init),
        scale: test.scale.map(Double.init), passes: y.map { !test.relu || $0 > 0 })
      let result = test.backward(x, y, mean, variance, isa, LayerHarness.threads[0])
      for threads in LayerHarness.threads.dropFirst() {
        #expect(test.backward(x, y, mean, variance, isa, threads).sameBits(as: result))
      }
      // With one element a channel the exact gradient vanishes, and the rounding of its terms is left.
      LayerHarness.expectClose(result.input, expected.input, rejectsZeros: !isSingle) {
        8 * Self.u * expected.inputMagnitude[$0]
      }
      LayerHarness.expectClose(result.scale, expected.scale, rejectsZeros: !isSingle) {
        3 * Self.u * expected.scaleMagnitude[$0]
      }
      LayerHarness.expectClose(result.shift, expected.shift, rejectsZeros: expected.shift.contains { $0 != 0 }) {
        1.01 * Self.u * expected.shiftMagnitude[$0]
      }
      // The sum of a batch norm's gradient is what rounding leaves of zero: compare with the sum of what was written.
      for c in 0..<shape.channels {
        let terms = shape.elements(ofChannel: c).map { Double(result.input[$0]) }
        let magnitude = terms.reduce(0) { $0 + abs($1) }
        #expect(abs(Double(result.sums[c]) - terms.reduce(0, +)) <= 1e-7 * abs(terms.reduce(0, +)) + 1e-12 * magnitude)
      }
      if test.relu && test.residual {
        let d = test.d
        #expect(result.residual == (0..<shape.count).map { y[$0] > 0 ? d[$0] : 0 })
      }
      for e in 0..<shape.count where shape.isPadding(e) { #expect(result.input[e].bitPattern == 0) }
    }
  }

  /// Moments alone, and backward in two halves, where the sums are those of this batch alone: what the whole passes compute, but for
  /// the sums' rounding to Float between the halves.
  @Test(arguments: BatchNormCase.all)
  func partsMakeTheWhole(_ test: BatchNormCase) {
    let shape = test.shape
    let x = test.x
    for moments in zip(
      LayerHarness.outputs({ test.moments(x, $0, $1) }), LayerHarness.outputs({ test.statistics(x, $0, $1) }))
    {
      #expect(LayerHarness.sameBits(moments.0, moments.1))
    }
    let (mean, variance) = test.roundedStatistics(x)
    for isa in LayerHarness.isas {
      let y = test.forward(x, mean, variance, isa, 1)
      let whole = test.backward(x, y, mean, variance, isa, 1)
      let parts = test.backwardInHalves(x, y, mean, variance, isa, LayerHarness.threads[0])
      for threads in LayerHarness.threads.dropFirst() {
        #expect(test.backwardInHalves(x, y, mean, variance, isa, threads).sameBits(as: parts))
      }
      #expect(parts.scale == whole.scale && parts.shift == whole.shift && parts.residual == whole.residual)
      let expected = test.oracle.gradients(
        x.map(Double.init), test.d.map(Double.init), mean: mean.map(Double.init), variance: variance.map(Double.init),
        scale: test.scale.map(Double.init), passes: y.map { !test.relu || $0 > 0 })
      LayerHarness.expectClose(
        parts.input, expected.input, rejectsZeros: shape.samples * shape.positions > 1
      ) { 10 * Self.u * expected.inputMagnitude[$0] }
      for c in 0..<shape.channels {
        let terms = shape.elements(ofChannel: c).map { Double(parts.input[$0]) }
        let magnitude = terms.reduce(0) { $0 + abs($1) }
        #expect(abs(Double(parts.sums[c]) - terms.reduce(0, +)) <= 1e-7 * abs(terms.reduce(0, +)) + 1e-12 * magnitude)
      }
      for e in 0..<shape.count where shape.isPadding(e) { #expect(parts.input[e].bitPattern == 0) }
    }
  }

  @Test(arguments: [1, 8, 32], [false, true])
  func aGradientMayTakeThePlaceOfItsOutputs(lanes: Int, residual: Bool) {
    let shape = LayerShape(channels: 3, positions: 7, samples: 33, lanes: lanes)
    let test = BatchNormCase(shape: shape, relu: true, residual: residual)
    let x = test.x
    let (mean, variance) = test.roundedStatistics(x)
    for isa in LayerHarness.isas {
      let y = test.forward(x, mean, variance, isa, 1)
      let apart = test.backward(x, y, mean, variance, isa, 1)
      for place in residual ? [BatchNormCase.InPlace.input, .residual] : [.input] {
        for threads in LayerHarness.threads {
          #expect(test.backward(x, y, mean, variance, isa, threads, inPlace: place).sameBits(as: apart))
        }
      }
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
