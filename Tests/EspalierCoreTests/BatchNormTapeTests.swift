import EspalierCore
import TestSupport
import Testing

@Suite struct BatchNormTapeTests {
  static let epsilon = Double(BatchNormState.epsilon)
  /// Roundings on the way to one number: of the statistics, the normalised value and three terms.
  static let roundings = 40.0

  private struct Case {
    let x, delta: OracleTensor
    let scale, shift: [Float]
    /// Which outputs the activation lets through.
    let passes: [Bool]

    init(batch: Int, relu: Bool) {
      var random = LayerRandom(seed: UInt64(batch * 2 + (relu ? 1 : 0)))
      x = OracleTensor(samples: batch, channels: 3, height: 4, width: 3, using: &random).map {
        Double(Float($0 * 2 + 1))
      }
      scale = [1.5, -0.75, 0.25]
      shift = [0.25, -0.5, 1]
      let normal = x.batchNorm(
        scale: scale.map(Double.init), shift: shift.map(Double.init), epsilon: epsilon)
      passes = normal.values.map { !relu || $0 > 0 }
      // Where rounding decides whether the activation lets something through, nothing shall depend on it.
      let coefficients = zip(random.floats(x.values.count), normal.values).map { abs($1) < 1e-4 ? 0 : Double($0) }
      delta = x.with(coefficients)
    }

    /// The output, with the activation as it is at `self`.
    func output(_ x: OracleTensor, scale: [Double], shift: [Double]) -> OracleTensor {
      let normal = x.batchNorm(scale: scale, shift: shift, epsilon: epsilon)
      return normal.with(zip(normal.values, passes).map { $1 ? $0 : 0 })
    }

    func state(_ context: ComputeContext) -> BatchNormState {
      let state = BatchNormState(name: "norm", channels: 3, meter: context.meter)
      for c in 0..<3 {
        state.scale.values[c] = scale[c]
        state.shift.values[c] = shift[c]
      }
      state.scale.gradient.buffer.update(repeating: .nan)
      state.shift.gradient.buffer.update(repeating: .nan)
      return state
    }

    func statistics() -> [(mean: Double, variance: Double)] {
      (0..<3).map { channel in
        let numbers = x.elements(ofChannel: channel).map { x.values[$0] }
        let mean = numbers.reduce(0, +) / Double(numbers.count)
        return (mean, numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(numbers.count))
      }
    }
  }

  @Test(arguments: CoreHarness.batches, [false, true])
  func matchesTheOracleInTraining(batch: Int, relu: Bool) throws {
    let layer = Case(batch: batch, relu: relu)
    let scale = layer.scale.map(Double.init)
    let shift = layer.shift.map(Double.init)
    let results = try CoreHarness.everywhere { context in
      let state = layer.state(context)
      let (output, gradient) = try context.trained(layer.x, delta: layer.delta) {
        try $0.batchNorm($1, state, relu: relu)
      }
      return [
        output, gradient, state.scale.gradient.array, state.shift.gradient.array, state.runningMean.array,
        state.runningVariance.array,
      ]
    }
    let expected = [
      layer.output(layer.x, scale: scale, shift: shift).values,
      OracleDerivative.central(
        { layer.output(layer.x.with($0), scale: scale, shift: shift).dot(layer.delta) }, at: layer.x.values,
        indices: layer.x.values.indices),
      OracleDerivative.affine(
        { layer.output(layer.x, scale: $0, shift: shift).dot(layer.delta) }, at: scale, indices: 0..<3),
      OracleDerivative.affine(
        { layer.output(layer.x, scale: scale, shift: $0).dot(layer.delta) }, at: shift, indices: 0..<3),
    ]
    let magnitudes = Self.magnitudes(layer, scale: scale, shift: shift)
    let names = ["output", "input gradient", "scale gradient", "shift gradient"]
    for result in results {
      for i in expected.indices {
        CoreHarness.expectClose(result[i], expected[i], names[i]) {
          Self.roundings * CoreHarness.u * magnitudes[i][$0] + 1e-9
        }
      }
      expectRunning(result[4], result[5], layer)
    }
  }

  /// For each number the sum of the magnitudes that it is made of.
  private static func magnitudes(_ layer: Case, scale: [Double], shift: [Double]) -> [[Double]] {
    let shape = LayerShape(channels: 3, positions: 12, samples: layer.x.samples, lanes: 1)
    let statistics = layer.statistics()
    let oracle = LayerNormOracle(shape: shape, epsilon: epsilon, relu: false)
    let gradients = oracle.gradients(
      layer.x.values, layer.delta.values, mean: statistics.map(\.mean), variance: statistics.map(\.variance),
      scale: scale, passes: layer.passes)
    let outputs = layer.x.values.indices.map { i in
      let channel = i / 12 % 3
      let (mean, variance) = statistics[channel]
      return abs(scale[channel]) * (abs(layer.x.values[i]) + abs(mean)) / (variance + epsilon).squareRoot()
        + abs(shift[channel])
    }
    return [outputs, gradients.inputMagnitude, gradients.scaleMagnitude, gradients.shiftMagnitude]
  }

  /// Running statistics move a tenth of the way from 0 and 1 to the batch's, the variance unbiased.
  private func expectRunning(_ mean: [Float], _ variance: [Float], _ layer: Case) {
    let n = Double(layer.x.samples * layer.x.positions)
    let statistics = layer.statistics()
    CoreHarness.expectClose(mean, statistics.map { 0.1 * $0.mean }, "running mean") { _ in 1e-6 }
    CoreHarness.expectClose(variance, statistics.map { 0.9 + 0.1 * $0.variance * n / (n - 1) }, "running variance") {
      _ in 1e-6
    }
  }

  @Test(arguments: CoreHarness.batches, [false, true])
  func usesRunningStatisticsInEvaluation(batch: Int, relu: Bool) throws {
    let layer = Case(batch: batch, relu: relu)
    let mean: [Float] = [0.5, -1, 2]
    let variance: [Float] = [0.25, 3, 1.5]
    let results = try CoreHarness.everywhere { context in
      let state = layer.state(context)
      for c in 0..<3 {
        state.runningMean[c] = mean[c]
        state.runningVariance[c] = variance[c]
      }
      let x = context.activations(layer.x, padding: 1e30)
      let output = try Tape(context: context, mode: .evaluation).batchNorm(Variable(x), state, relu: relu)
      #expect(!output.needsGradient)
      #expect(state.runningMean.array == mean && state.runningVariance.array == variance)
      return [context.numbers(output.value)]
    }
    let expected = layer.x.values.indices.map { i in
      let c = i / 12 % 3
      let deviation = (Double(variance[c]) + Self.epsilon).squareRoot()
      let y = Double(layer.scale[c]) * (layer.x.values[i] - Double(mean[c])) / deviation + Double(layer.shift[c])
      return relu ? max(y, 0) : y
    }
    for result in results {
      CoreHarness.expectClose(result[0], expected, "output") { _ in 20 * CoreHarness.u * 12 }
    }
  }

  @Test func refusesAnotherNumberOfChannels() throws {
    let context = try ComputeContext(threads: 1)
    let state = BatchNormState(name: "norm", channels: 3, meter: context.meter)
    let x = Variable(context.pool.activations(ActivationShape(samples: 2, channels: 4)))
    #expect(throws: EspalierError.usage("norm: expected 3 channels, found 4")) {
      try Tape(context: context, mode: .evaluation).batchNorm(x, state)
    }
  }
}
