import EspalierCore
import EspalierTestRanks
import TestSupport
import Testing

/// Operations on a batch that ranks share against the same on the whole batch.
@Suite struct SharedBatchTests {
  private static let channels = 3
  private static let positions = 12

  /// What the ranks have of one normalisation: [samples, channels, height, width] and by channel.
  private struct Outcome: Sendable {
    var output, gradient, residual: [Float]
    var scale, shift, mean, variance: [Float]
  }

  private static func numbers(_ seed: UInt64, _ samples: Int) -> OracleTensor {
    var random = LayerRandom(seed: seed)
    return OracleTensor(samples: samples, channels: channels, height: 4, width: 3, using: &random)
  }

  /// The samples `slice` of a batch, alone or with others.
  private static func normalise(
    _ batch: Int, _ slice: Range<Int>, relu: Bool, residual: Bool, ranks: RankGroup?, threads: Int
  ) throws -> Outcome {
    let context = try ComputeContext(threads: threads)
    let shape = ActivationShape(samples: slice.count, channels: channels, height: 4, width: 3)
    func activations(_ seed: UInt64, scale: Double = 1, offset: Double = 0) -> Activations {
      let whole = numbers(seed, batch)
      return context.activations(shape) { sample, feature in
        Float(whole.values[(slice.lowerBound + sample) * channels * positions + feature] * scale + offset)
      }
    }
    let state = BatchNormState(name: "norm", channels: channels, meter: context.meter)
    for c in 0..<channels {
      state.scale.values[c] = [1.5, -0.75, 0.25][c]
      state.shift.values[c] = [0.25, -0.5, 1][c]
    }
    for vector in [state.scale, state.shift] { vector.gradient.buffer.update(repeating: .nan) }
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.ranks = ranks
    let x = tape.input(activations(1, scale: 2, offset: 5))
    let added = residual ? tape.input(activations(2)) : nil
    let output = try tape.batchNorm(x, state, relu: relu, adding: added)
    let result = (0..<slice.count).flatMap { sample in
      (0..<channels * positions).map { output.value[sample: sample, feature: $0] }
    }
    let gradients = try tape.backward(
      from: output, gradient: activations(3), sources: [x] + (added.map { [$0] } ?? []))
    func flat(_ x: Activations?) -> [Float] {
      guard let x else { return [] }
      return (0..<slice.count).flatMap { sample in
        (0..<channels * positions).map { x[sample: sample, feature: $0] }
      }
    }
    return Outcome(
      output: result, gradient: flat(gradients[0]), residual: residual ? flat(gradients[1]) : [],
      scale: state.scale.gradient.array, shift: state.shift.gradient.array, mean: state.runningMean.array,
      variance: state.runningVariance.array)
  }

  /// Slices of unlike sizes among them. The whole batch's own numbers are checked elsewhere; rounding to Float of what is sent
  /// makes the difference.
  @Test(arguments: [(2, 40), (3, 40), (4, 7), (2, 2)], [(false, false), (true, false), (false, true), (true, true)])
  func batchNormIsOfTheWholeBatch(_ shape: (ranks: Int, batch: Int), _ kind: (relu: Bool, residual: Bool)) throws {
    let batch = shape.batch
    let whole = try Self.normalise(
      batch, 0..<batch, relu: kind.relu, residual: kind.residual, ranks: nil, threads: 2)
    let parts = try ThreadRanks.run(shape.ranks) { ranks, _ in
      let outcome = try Self.normalise(
        batch, ranks.part(of: batch, rank: ranks.rank), relu: kind.relu, residual: kind.residual, ranks: ranks,
        threads: 1 + ranks.rank)
      // Two numbers a channel each way, and the number of samples.
      #expect(ranks.traffic[.statistics] == (4 * Self.channels + 1) * 4 * (ranks.size - 1))
      return outcome
    }
    func compare(_ found: [Float], _ expected: [Float], _ name: String, within bound: Float) {
      #expect(found.count == expected.count)
      let worst = zip(found, expected).map { abs($0 - $1) }.max() ?? 0
      #expect(worst <= bound, "\(name): \(worst)")
    }
    compare(parts.flatMap(\.output), whole.output, "output", within: 1e-5)
    compare(parts.flatMap(\.gradient), whole.gradient, "input gradient", within: 1e-5)
    compare(parts.flatMap(\.residual), whole.residual, "residual's gradient", within: 1e-5)
    for part in parts {
      compare(part.mean, whole.mean, "running mean", within: 1e-6)
      compare(part.variance, whole.variance, "running variance", within: 1e-6)
      #expect(part.mean == parts[0].mean && part.variance == parts[0].variance)
    }
    func sums(_ path: KeyPath<Outcome, [Float]>) -> [Float] {
      (0..<Self.channels).map { c in parts.reduce(0) { $0 + $1[keyPath: path][c] } }
    }
    compare(sums(\.scale), whole.scale, "scale's gradient", within: 1e-4)
    compare(sums(\.shift), whole.shift, "shift's gradient", within: 1e-4)
    #expect(whole.gradient.contains { abs($0) > 0.05 })
  }

  /// Of an even and an odd number of features, which the kernel draws differently.
  @Test(arguments: [(0..<5, 6), (5..<40, 6), (13..<29, 7), (32..<40, 8), (39..<40, 3)])
  func dropoutMasksAreTheWholeBatchs(_ slice: Range<Int>, features: Int) throws {
    let context = try ComputeContext(threads: 2)
    func masked(_ samples: Range<Int>) -> [[Float]] {
      let x = context.activations(ActivationShape(samples: samples.count, channels: features)) { _, _ in 1 }
      let tape = Tape(context: context, mode: .training(step: 3))
      tape.firstSample = samples.lowerBound
      let y = tape.dropout(Variable(x), probability: 0.4, index: 1, random: CounterRandom(seed: 2)).value
      return (0..<samples.count).map { sample in (0..<features).map { y[sample: sample, feature: $0] } }
    }
    let whole = masked(0..<40)
    #expect(masked(slice) == Array(whole[slice]))
    #expect(whole.joined().contains(0) && whole.joined().contains { $0 > 1 })
  }
}
