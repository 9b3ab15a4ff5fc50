import EspalierCore
import TestSupport
import Testing

/// Shortcuts, global pooling and what a transformer is made of, against oracles in Double.
@Suite struct TokenOperationTests {
  /// - Parameters:
  ///   - roundings: error of an output or gradient, in roundings of the largest of them; 0 for exact ones.
  ///   - padding: what lies in the lanes beyond the last sample.
  private func check(
    _ x: OracleTensor, tokens: TokenSides = [], roundings: Double, padding: Float = 1e30, step: Double = 1e-3,
    _ operation: (Tape, Variable) throws -> Variable, oracle: (OracleTensor) -> OracleTensor
  ) throws {
    var random = LayerRandom(seed: 99)
    let output = oracle(x)
    let delta = OracleTensor(
      samples: output.samples, channels: output.channels, height: output.height, width: output.width, using: &random)
    let gradient = (0..<x.samples).flatMap { index in
      let sample = x.sample(index)
      let seed = delta.sample(index)
      return OracleDerivative.central(
        { oracle(sample.with($0)).dot(seed) }, at: sample.values, indices: sample.values.indices, step: step)
    }
    let results = try CoreHarness.everywhere { context in
      let (output, gradient) = try context.trained(x, delta: delta, tokens: tokens, padding: padding, operation)
      return [output, gradient]
    }
    let (outputSize, gradientSize) = (largest(output.values), largest(gradient))
    for result in results {
      CoreHarness.expectClose(result[0], output.values, "output") { _ in roundings * CoreHarness.u * outputSize }
      CoreHarness.expectClose(result[1], gradient, "input gradient") { _ in
        roundings * CoreHarness.u * gradientSize + 1e-10
      }
    }
  }

  private func largest(_ values: [Double]) -> Double { values.map { abs($0) }.max() ?? 0 }

  private func random(_ batch: Int, channels: Int, height: Int, width: Int, seed: UInt64) -> OracleTensor {
    var random = LayerRandom(seed: seed)
    return OracleTensor(samples: batch, channels: channels, height: height, width: width, using: &random)
  }

  @Test(arguments: CoreHarness.batches, [(1, 4), (2, 4), (2, 8), (3, 2)])
  func paddedShortcut(batch: Int, shape: (stride: Int, channels: Int)) throws {
    let x = random(batch, channels: 2, height: 5, width: 4, seed: 1)
    try check(
      x, roundings: 0, { try $0.paddedShortcut($1, outChannels: shape.channels, stride: shape.stride) }
    ) { $0.paddedShortcut(outChannels: shape.channels, stride: shape.stride) }
  }

  @Test(arguments: CoreHarness.batches)
  func globalAveragePool(batch: Int) throws {
    try check(random(batch, channels: 3, height: 5, width: 4, seed: 2), roundings: 22, { $0.globalAveragePool($1) }) {
      $0.globalAverage()
    }
  }

  @Test(arguments: CoreHarness.batches)
  func meanOfTokens(batch: Int) throws {
    try check(
      random(batch, channels: 3, height: 5, width: 4, seed: 2), tokens: .input, roundings: 22,
      { $0.globalAveragePool($1) }
    ) { $0.globalAverage() }
  }

  /// Dropout's mask does not follow the layout: flat or as tokens, the same numbers are dropped.
  @Test(arguments: CoreHarness.batches)
  func dropoutAndFlattenGoTokenByToken(batch: Int) throws {
    let context = try ComputeContext(threads: 2)
    let tape = Tape(context: context, mode: .training(step: 3))
    let x = context.activations(
      random(batch, channels: 3, height: 2, width: 2, seed: 9), padding: 0, areTokens: true)
    let random = CounterRandom(seed: 5)
    let a = tape.dropout(tape.flatten(Variable(x)), probability: 0.5, index: 0, random: random)
    let b = tape.flatten(tape.dropout(Variable(x), probability: 0.5, index: 0, random: random))
    #expect(a.shape == ActivationShape(samples: batch, channels: 12) && a.shape == b.shape)
    #expect(context.numbers(a.value) == context.numbers(b.value))
  }

  @Test(arguments: CoreHarness.batches)
  func gelu(batch: Int) throws {
    let x = random(batch, channels: 3, height: 5, width: 2, seed: 3).map { 4 * $0 }
    try check(x, roundings: 8, { $0.gelu($1) }) { $0.gelu() }
  }

  @Test(arguments: CoreHarness.batches, [1, 2])
  func patches(batch: Int, size: Int) throws {
    try check(
      random(batch, channels: 3, height: 4, width: 6, seed: 4), tokens: .output, roundings: 0,
      { try $0.patches($1, size: size) }
    ) { $0.patches(size: size) }
  }

  @Test(arguments: CoreHarness.batches)
  func positionEmbedding(batch: Int) throws {
    try check(
      random(batch, channels: 16, height: 3, width: 4, seed: 5), tokens: [.input, .output], roundings: 2,
      { tape, x in
        let embedding = PositionEmbedding(channels: 16, height: 3, width: 4, meter: tape.context.meter)
        return try tape.addPositionEmbedding(x, embedding)
      }
    ) { $0.addingPositions() }
  }

  @Test(arguments: CoreHarness.batches, [(1, 8), (3, 4)])
  func attention(batch: Int, shape: (heads: Int, size: Int)) throws {
    let (heads, size) = shape
    let x = random(batch, channels: 3 * heads * size, height: 2, width: 3, seed: 6).map { 2 * $0 }
    // Sums of `size` products, exponentials, sums over six tokens; backward has three such sums in a row.
    // Scores of the padding must be finite, too.
    try check(
      x, tokens: [.input, .output], roundings: 200, padding: 3, step: 1e-4,
      { try $0.attention($1, heads: heads, size: size) }
    ) { $0.attention(heads: heads, size: size) }
  }

  @Test(arguments: CoreHarness.batches)
  func layerNorm(batch: Int) throws {
    let x = random(batch, channels: 5, height: 2, width: 3, seed: 7).map { 2 * $0 + 1 }
    let (scale, shift) = ([1.5, -0.75, 0.25, 1, 2], [0.25, -0.5, 1, 0, -2])
    func state(_ context: ComputeContext) -> LayerNormState {
      let state = LayerNormState(name: "norm", channels: 5, meter: context.meter)
      for c in 0..<5 {
        state.scale.values[c] = Float(scale[c])
        state.shift.values[c] = Float(shift[c])
      }
      state.scale.gradient.buffer.update(repeating: .nan)
      state.shift.gradient.buffer.update(repeating: .nan)
      return state
    }
    try check(x, tokens: [.input, .output], roundings: 100, { try $0.layerNorm($1, state($0.context)) }) {
      $0.layerNorm(scale: scale, shift: shift)
    }
    var random = LayerRandom(seed: 8)
    let delta = OracleTensor(samples: batch, channels: 5, height: 2, width: 3, using: &random)
    let expected = [
      OracleDerivative.affine({ x.layerNorm(scale: $0, shift: shift).dot(delta) }, at: scale, indices: 0..<5),
      OracleDerivative.affine({ x.layerNorm(scale: scale, shift: $0).dot(delta) }, at: shift, indices: 0..<5),
    ]
    let results = try CoreHarness.everywhere { context in
      let norm = state(context)
      _ = try context.trained(x, delta: delta, tokens: [.input, .output]) { try $0.layerNorm($1, norm) }
      return [norm.scale.gradient.array, norm.shift.gradient.array]
    }
    // Sums over samples and tokens of normalised numbers below 3 in size times delta.
    let terms = Double(batch * 6)
    for result in results {
      CoreHarness.expectClose(result[0], expected[0], "scale gradient") { _ in 30 * terms * CoreHarness.u }
      CoreHarness.expectClose(result[1], expected[1], "shift gradient") { _ in 10 * terms * CoreHarness.u }
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let context = try ComputeContext(threads: 1)
    let x = Variable(context.pool.activations(ActivationShape(samples: 2, channels: 6, height: 3, width: 4)))
    let tape = Tape(context: context, mode: .evaluation)
    let norm = LayerNormState(name: "norm", channels: 3, meter: context.meter)
    let embedding = PositionEmbedding(channels: 8, height: 3, width: 4, meter: context.meter)
    #expect(throws: EspalierError.usage("norm: expected 3 features a token, found 72")) { try tape.layerNorm(x, norm) }
    #expect(performing: { try tape.attention(x, heads: 2, size: 2) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.attention(x, heads: 0, size: 2) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.patches(x, size: 2) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.patches(x, size: 0) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.addPositionEmbedding(x, embedding) }, throws: CoreHarness.isUsage)
    let tokens = Variable(context.pool.activations(ActivationShape(samples: 2, tokens: 12, channels: 6)))
    let batchNorm = BatchNormState(name: "batch norm", channels: 6, meter: context.meter)
    #expect(performing: { try tape.patches(tokens, size: 1) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.batchNorm(tokens, batchNorm) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.maxPool(tokens, PoolGeometry(kernel: 1)) }, throws: CoreHarness.isUsage)
    #expect(performing: { try tape.averagePool(tokens, PoolGeometry(kernel: 1)) }, throws: CoreHarness.isUsage)
    #expect(
      performing: { try tape.paddedShortcut(tokens, outChannels: 6, stride: 1) }, throws: CoreHarness.isUsage)
    let weight = try context.parameter(OracleLayer(rows: 2, columns: 6, cells: [0], values: [1]))
    #expect(
      performing: {
        try tape.sparseConvolution(tokens, weight: weight, bias: nil, geometry: ConvolutionGeometry(kernel: 1))
      }, throws: CoreHarness.isUsage)
    for (channels, stride) in [(5, 1), (7, 1), (8, 0)] {
      #expect(
        performing: { try tape.paddedShortcut(x, outChannels: channels, stride: stride) }, throws: CoreHarness.isUsage)
    }
  }
}
