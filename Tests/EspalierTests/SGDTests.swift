import Espalier
import EspalierCore
import TestSupport
import Testing

/// PyTorch's rule in Double: g += wd * w; v = mu * v + g (v = g at first); w -= lr * v.
struct SGDOracle {
  var values: [Double]
  var velocity: [Double]?
  let momentum, weightDecay: Double

  mutating func step(gradient: [Float], learningRate: Double) {
    let decayed = zip(gradient, values).map { Double($0) + weightDecay * $1 }
    velocity = velocity.map { zip($0, decayed).map { momentum * $0 + $1 } } ?? decayed
    values = zip(values, velocity ?? []).map { $0 - learningRate * $1 }
  }
}

@Suite struct SGDTests {
  /// Rates and factors that Float holds exactly, so that only the operations round.
  static let rules: [(momentum: Float, weightDecay: Float)] = [(0, 0), (0.875, 0), (0, 0.125), (0.875, 0.0078125)]

  @Test(arguments: rules)
  func movesVectorsAsPyTorchDoes(momentum: Float, weightDecay: Float) throws {
    let context = try ComputeContext(threads: 2)
    let parameter = VectorParameter(name: "bias", count: 37, meter: context.meter)
    try check(parameter, SGD(momentum: momentum, weightDecay: weightDecay), context)
  }

  @Test(arguments: rules)
  func movesConnectionsAsPyTorchDoes(momentum: Float, weightDecay: Float) throws {
    let context = try ComputeContext(threads: 3)
    let structure = SparseStructure.random(
      name: "layer", rows: 13, columns: 29, count: 101, stream: CounterRandom(seed: 3).stream(.topology),
      meter: context.meter)
    let matrix = SparseMatrix(name: "layer", structure: structure, meter: context.meter)
    let parameter = SparseParameter(matrix: matrix, index: 0)
    try check(parameter, SGD(momentum: momentum, weightDecay: weightDecay), context)
    #expect(matrix.structure === structure)
  }

  /// Nine steps with signed gradients and a rate that changes.
  private func check(_ parameter: some Parameter, _ optimizer: SGD, _ context: ComputeContext) throws {
    var random = LayerRandom(seed: 11)
    let start = random.floats(parameter.count)
    parameter.withMutableValues { _ = $0.update(fromContentsOf: start) }
    var oracle = SGDOracle(
      values: start.map(Double.init), velocity: nil, momentum: Double(optimizer.momentum),
      weightDecay: Double(optimizer.weightDecay))
    for step in 0..<9 {
      let gradient = random.floats(parameter.count)
      _ = parameter.gradient.buffer.update(fromContentsOf: gradient)
      let rate: Float = step < 5 ? 0.25 : 0.03125
      optimizer.step([parameter], number: step + 1, learningRate: Double(rate), context: context)
      oracle.step(gradient: gradient, learningRate: Double(rate))
      #expect(parameter.gradient.array == gradient, "the gradient is left alone")
    }
    // Each of nine steps rounds some five times at magnitudes below 8; nothing amplifies an error by more than 1 + 9 * 0.25.
    let bound = 9 * 5 * 8 * 4 * Double(Float.ulpOfOne) / 2
    let values = parameter.withMutableValues { Array($0) }
    for (found, expected) in zip(values, oracle.values) { #expect(abs(Double(found) - expected) <= bound) }
    for (found, expected) in zip(parameter.optimizerState[0].array, oracle.velocity ?? []) {
      #expect(abs(Double(found) - expected) <= bound)
    }
    #expect(zip(values, start).allSatisfy { $0 != $1 })
  }
}

@Suite struct LearningRateScheduleTests {
  @Test func warmsUpLinearlyAStepAtATime() {
    let schedule = LearningRateSchedule(base: 0.2, warmupSteps: 8, decay: .milestones([100]))
    #expect(abs(schedule.rate(at: 0) - 0.2e-4) < 1e-15)
    for step in 0...8 {
      let expected = 0.2 * (1e-4 + 0.9999 * Double(step) / 8)
      #expect(abs(schedule.rate(at: step) - expected) < 1e-15)
    }
    #expect(schedule.rate(at: 8) == 0.2)
    #expect(schedule.rate(at: 99) == 0.2)
  }

  @Test func dropsToATenthAtEachMilestone() {
    let schedule = LearningRateSchedule(base: 1, decay: .milestones([40, 60]))
    for (step, rate) in [(0, 1), (39, 1), (40, 0.1), (59, 0.1), (60, 0.01), (1000, 0.01)] {
      #expect(abs(schedule.rate(at: step) - rate) <= 1e-15 * rate * 4)
    }
  }

  @Test func withoutWarmupStartsAtTheBase() {
    #expect(LearningRateSchedule(base: 0.1).rate(at: 0) == 0.1)
  }
}
