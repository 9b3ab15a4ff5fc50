import EspalierCore
import TestSupport
import Testing

/// Linear layers of procedural weights to which a multiple of a gradient is added, against plain loops in Double.
@Suite struct PerturbationTests {
  /// Sizes of a layer, of the two batches whose gradients are added, and of the batch that passes through it.
  struct Setting: Sendable, CustomTestStringConvertible {
    let rows, columns: Int
    let factors: [Int]
    let samples: Int
    var tokens = 1

    var testDescription: String { "\(rows) x \(columns), \(factors) and \(samples) samples of \(tokens) tokens" }
  }

  /// A batch's input and the gradient of its output.
  private struct Batch {
    let x, delta: OracleTensor

    init(_ samples: Int, _ setting: Setting, seed: UInt64) {
      var random = LayerRandom(seed: seed)
      x = OracleTensor(samples: samples, channels: setting.columns, height: 1, width: setting.tokens, using: &random)
      delta = OracleTensor(samples: samples, channels: setting.rows, height: 1, width: setting.tokens, using: &random)
    }

    /// The numbers of a sample's token.
    static func rows(of tensor: OracleTensor) -> [[Double]] {
      (0..<tensor.samples * tensor.positions).map { place in
        let (sample, token) = place.quotientAndRemainder(dividingBy: tensor.positions)
        return (0..<tensor.channels).map { tensor.values[sample * tensor.features + $0 * tensor.positions + token] }
      }
    }
  }

  /// Products of low rank by themselves: batches of 1, of whole and of padded blocks, factors of other sizes, tokens. In the last two the gradient is made
  /// part of the weights, in several tiles: forward of 1,100 columns, backward of 70 blocks of rows.
  static let settings = [
    Setting(rows: 200, columns: 300, factors: [2, 3], samples: 40),
    Setting(rows: 200, columns: 300, factors: [1, 33], samples: 32),
    Setting(rows: 200, columns: 300, factors: [33, 5], samples: 1),
    Setting(rows: 150, columns: 130, factors: [5, 2], samples: 9, tokens: 3),
    Setting(rows: 6, columns: 1100, factors: [5, 2], samples: 40),
    Setting(rows: 1100, columns: 6, factors: [2, 9], samples: 31, tokens: 2),
  ]

  @Test(arguments: settings) func aPerturbationIsPartOfTheWeights(_ setting: Setting) throws {
    let scale: Float = 0.25
    let batches = setting.factors.enumerated().map { Batch($1, setting, seed: UInt64($0)) }
    let batch = Batch(setting.samples, setting, seed: 9)
    var dense: [Double] = []
    let found = try CoreHarness.everywhere { context in
      let weights = procedural(setting, context)
      dense = self.dense(weights, context)
      let plain = try run(batch, through: weights, context)
      weights.perturbation = try .init(scale: scale, factors: batches.map { try factors(of: $0, weights, context) })
      let moved = try run(batch, through: weights, context)
      try context.meter.check()
      return [plain.output, plain.gradient, moved.output, moved.gradient]
    }
    // W + s d x', and the sum of its terms' magnitudes.
    var (moved, most) = (dense, dense.map(abs))
    for batch in batches {
      for (x, delta) in zip(Batch.rows(of: batch.x), Batch.rows(of: batch.delta)) {
        for (row, d) in delta.enumerated() {
          for (column, x) in x.enumerated() {
            moved[row * setting.columns + column] += Double(scale) * d * x
            most[row * setting.columns + column] += Double(scale) * abs(d * x)
          }
        }
      }
    }
    let terms = Double(setting.columns + setting.rows + setting.factors.reduce(0, +) * setting.tokens + 4)
    for numbers in found {
      for (index, (matrix, name)) in [(dense, "plain"), (moved, "perturbed")].enumerated() {
        for (side, result) in numbers[2 * index..<2 * index + 2].enumerated() {
          let input = side == 0 ? batch.x : batch.delta
          let expected = product(matrix, input, setting, transposed: side == 1)
          let bounds = product(index == 0 ? dense.map(abs) : most, input.map(abs), setting, transposed: side == 1)
          CoreHarness.expectClose(result, expected, "\(name), \(side == 0 ? "forward" : "backward")") {
            terms * CoreHarness.u * bounds[$0] + 1e-13
          }
          let without = product(dense, input, setting, transposed: side == 1)
          #expect(index == 0 || expected.indices.contains { abs(expected[$0] - without[$0]) > 1e-3 * bounds[$0] })
        }
      }
    }
  }

  private func procedural(_ setting: Setting, _ context: ComputeContext) -> ProceduralWeights {
    ProceduralWeights(
      name: "layer", index: 0, rows: setting.rows, columns: setting.columns, taps: 1,
      connections: setting.rows * setting.columns / 10, stream: CounterRandom(seed: 3).stream(.weights),
      range: -0.1..<0.1, meter: context.meter)
  }

  private func dense(_ weights: ProceduralWeights, _ context: ComputeContext) -> [Double] {
    var values: [Double] = []
    weights.forEachScoreTile(.magnitude, context: context) { tile in
      values += (0..<tile.count).map { Double(tile.values[$0]) }
    }
    return values
  }

  private func run(
    _ batch: Batch, through weights: ProceduralWeights, _ context: ComputeContext
  ) throws -> (output: [Float], gradient: [Float]) {
    let tokens: TokenSides = batch.x.positions > 1 ? [.input, .output] : []
    return try context.trained(batch.x, delta: batch.delta, tokens: tokens, padding: 1e3) { tape, x in
      try tape.proceduralLinear(x, weights: weights, bias: nil)
    }
  }

  private func factors(
    of batch: Batch, _ weights: ProceduralWeights, _ context: ComputeContext
  ) throws -> GradientFactors {
    var found: GradientFactors?
    let areTokens = batch.x.positions > 1
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.gradientFactorsVisitor = { found = $1 }
    let x = tape.input(context.activations(batch.x, padding: 1e3, areTokens: areTokens))
    let y = try tape.proceduralLinear(x, weights: weights, bias: nil)
    try tape.backward(from: y, gradient: context.activations(batch.delta, padding: 0, areTokens: areTokens))
    return try #require(found)
  }

  /// m x or m' x of every sample and token, in the tensors' order.
  private func product(
    _ matrix: [Double], _ input: OracleTensor, _ setting: Setting, transposed: Bool
  ) -> [Double] {
    let (outputs, inputs) = transposed ? (setting.columns, setting.rows) : (setting.rows, setting.columns)
    var result = [Double](repeating: 0, count: input.samples * outputs * input.positions)
    for (place, x) in Batch.rows(of: input).enumerated() {
      let (sample, token) = place.quotientAndRemainder(dividingBy: input.positions)
      for output in 0..<outputs {
        let sum = (0..<inputs).reduce(0.0) { sum, i in
          sum + x[i] * matrix[transposed ? i * setting.columns + output : output * setting.columns + i]
        }
        result[(sample * outputs + output) * input.positions + token] = sum
      }
    }
    return result
  }
}
