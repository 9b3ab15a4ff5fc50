import EspalierCore
import TestSupport
import Testing

@Suite struct PlainOperationTests {
  /// - Parameters:
  ///   - bound: relative error of the output; by default it is exact.
  ///   - terms: how many numbers of at most 1 an element of the gradient may be the sum of.
  private func check(
    _ x: OracleTensor, bound: Double = 0, terms: Int = 1, _ operation: (Tape, Variable) throws -> Variable,
    oracle: (OracleTensor) -> OracleTensor
  ) throws {
    var random = LayerRandom(seed: 99)
    let output = oracle(x)
    let delta = OracleTensor(
      samples: output.samples, channels: output.channels, height: output.height, width: output.width, using: &random)
    let gradient = (0..<x.samples).flatMap { index in
      let sample = x.sample(index)
      let seed = delta.sample(index)
      return OracleDerivative.central(
        { oracle(sample.with($0)).dot(seed) }, at: sample.values, indices: sample.values.indices, step: 1e-3)
    }
    let results = try CoreHarness.everywhere { context in
      let (output, gradient) = try context.trained(x, delta: delta, operation)
      return [output, gradient]
    }
    for result in results {
      CoreHarness.expectClose(result[0], output.values, "output") { bound * abs(output.values[$0]) }
      CoreHarness.expectClose(result[1], gradient, "input gradient") { _ in
        Double(terms * terms) * CoreHarness.u + bound
      }
    }
  }

  @Test(arguments: CoreHarness.batches)
  func relu(batch: Int) throws {
    try check(OracleTensor.distinct(batch, channels: 3, height: 4, width: 5, seed: 1), { $0.relu($1) }) { $0.relu() }
  }

  static let pools = [
    PoolGeometry(kernel: 2), PoolGeometry(kernel: 3, stride: 2, padding: 1), PoolGeometry(kernel: 3, stride: 1),
    PoolGeometry(kernel: 2, stride: 3, padding: 1),
  ]

  @Test(arguments: CoreHarness.batches, pools)
  func maxPool(batch: Int, pool: PoolGeometry) throws {
    let terms = pool.kernel * pool.kernel
    try check(
      OracleTensor.distinct(batch, channels: 2, height: 6, width: 5, seed: 2), terms: terms,
      { try $0.maxPool($1, pool) }
    ) {
      $0.pooled(kernel: pool.kernel, stride: pool.stride, padding: pool.padding) { $0.max()! }
    }
  }

  @Test(arguments: CoreHarness.batches, pools)
  func averagePool(batch: Int, pool: PoolGeometry) throws {
    let size = Double(pool.kernel * pool.kernel)
    var random = LayerRandom(seed: UInt64(batch))
    let x = OracleTensor(samples: batch, channels: 2, height: 6, width: 5, using: &random).map { $0 + 2 }
    try check(x.map { Double(Float($0)) }, bound: (size + 2) * CoreHarness.u, { try $0.averagePool($1, pool) }) {
      $0.pooled(kernel: pool.kernel, stride: pool.stride, padding: pool.padding) { $0.reduce(0, +) / size }
    }
  }

  @Test(arguments: CoreHarness.batches, [[7, 7], [2, 2], [1, 4], [6, 5]])
  func adaptiveAveragePool(batch: Int, size: [Int]) throws {
    var random = LayerRandom(seed: UInt64(batch))
    let x = OracleTensor(samples: batch, channels: 2, height: 6, width: 5, using: &random).map { Double(Float($0 + 2)) }
    try check(
      x, bound: 32 * CoreHarness.u, terms: 3, { try $0.adaptiveAveragePool($1, height: size[0], width: size[1]) }
    ) { $0.adaptivelyPooled(height: size[0], width: size[1]) }
  }

  @Test func poolsRefuseWindowsThatDoNotFit() throws {
    let context = try ComputeContext(threads: 1)
    let x = Variable(context.pool.activations(ActivationShape(samples: 2, channels: 1, height: 3, width: 4)))
    let tape = Tape(context: context, mode: .evaluation)
    for bad in [
      PoolGeometry(kernel: 4), PoolGeometry(kernel: 2, padding: 2), PoolGeometry(kernel: 0, stride: 1),
      PoolGeometry(kernel: 2, stride: 0), PoolGeometry(kernel: 2, padding: -1),
    ] {
      #expect(performing: { try tape.maxPool(x, bad) }, throws: CoreHarness.isUsage)
      #expect(performing: { try tape.averagePool(x, bad) }, throws: CoreHarness.isUsage)
    }
    #expect(performing: { try tape.adaptiveAveragePool(x, height: 0, width: 1) }, throws: CoreHarness.isUsage)
  }

  @Test(arguments: CoreHarness.batches)
  func flatten(batch: Int) throws {
    let x = OracleTensor.distinct(batch, channels: 3, height: 2, width: 5, seed: 4)
    try check(x, { $0.flatten($1) }) { $0.flattened() }
    let context = try ComputeContext(threads: 1)
    let flat = Tape(context: context, mode: .evaluation).flatten(Variable(context.activations(x, padding: 0)))
    #expect(flat.shape == ActivationShape(samples: batch, channels: 30))
  }

  /// x + relu(x): the operand's gradient comes by two ways.
  @Test(arguments: CoreHarness.batches)
  func addWithASharedOperand(batch: Int) throws {
    let bound = 2 * CoreHarness.u
    try check(
      OracleTensor.distinct(batch, channels: 3, height: 2, width: 3, seed: 5), bound: bound, { $0.add($1, $0.relu($1)) }
    ) { $0.map { $0 + max($0, 0) } }
  }

  /// x + x, and (x + x) + x: the gradient's buffer is shared and must not be added into.
  @Test(arguments: CoreHarness.batches)
  func addOfAValueToItself(batch: Int) throws {
    let bound = 4 * CoreHarness.u
    let x = OracleTensor.distinct(batch, channels: 3, height: 2, width: 3, seed: 6)
    try check(x, bound: bound, { $0.add($1, $1) }) { $0.map { 2 * $0 } }
    try check(x, bound: bound, { $0.add($0.add($1, $1), $1) }) { $0.map { 3 * $0 } }
  }

  /// The seed gradient is the caller's: backward must leave it as it is.
  @Test func backwardLeavesTheSeedAlone() throws {
    let context = try ComputeContext(threads: 1)
    let tape = Tape(context: context, mode: .training(step: 0))
    let x = tape.input(context.activations(OracleTensor.distinct(3, channels: 2, seed: 7), padding: 0))
    let seed = context.activations(OracleTensor.distinct(3, channels: 2, seed: 8), padding: 0)
    let before = context.numbers(seed)
    let y = tape.add(tape.add(x, x), tape.add(x, tape.relu(x)))
    let other = tape.input(context.activations(OracleTensor.distinct(3, channels: 2, seed: 9), padding: 0))
    let gradients = try tape.backward(from: y, gradient: seed, sources: [x, other, y])
    #expect(context.numbers(seed) == before)
    #expect(gradients[0] != nil && gradients[1] == nil)
    #expect(gradients[2].map(context.numbers) == before)
  }
}
