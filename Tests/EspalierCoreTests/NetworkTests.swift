import EspalierCore
import TestSupport
import Testing

/// Convolution, batch norm with ReLU, max-pool, convolution with a residual, flatten, linear, loss: numbers and dense oracle.
private struct Network {
  static let kernel = OracleKernel(height: 3, width: 3, padding: 1)
  static let smoothing = 0.1
  let x: OracleTensor
  let labels: [Int]
  let first, second, last: OracleLayer
  let firstBias, secondBias, lastBias, scale, shift: [Float]

  init(batch: Int, seed: UInt64) {
    var random = LayerRandom(seed: seed)
    x = OracleTensor(samples: batch, channels: 2, height: 6, width: 4, using: &random)
    labels = (0..<batch).map { _ in Int.random(in: 0..<3, using: &random) }
    first = OracleLayer(rows: 4, columns: 18, count: 30, using: &random)
    second = OracleLayer(rows: 4, columns: 36, count: 50, using: &random)
    last = OracleLayer(rows: 3, columns: 24, count: 40, using: &random)
    firstBias = random.floats(4)
    secondBias = random.floats(4)
    lastBias = random.floats(3)
    scale = random.floats(4, in: 0.5...1.5)
    shift = random.floats(4, in: 0...0.5)
  }

  /// Numbers that the network is differentiated by, in Double; weights dense.
  struct Numbers {
    var x: OracleTensor
    var first, second, last, firstBias, secondBias, lastBias, scale, shift: [Double]
  }

  var numbers: Numbers {
    Numbers(
      x: x, first: first.dense, second: second.dense, last: last.dense, firstBias: firstBias.map(Double.init),
      secondBias: secondBias.map(Double.init), lastBias: lastBias.map(Double.init), scale: scale.map(Double.init),
      shift: shift.map(Double.init))
  }

  private func normal(_ n: Numbers) -> OracleTensor {
    n.x.convolution(weights: n.first, bias: n.firstBias, Self.kernel)
      .batchNorm(scale: n.scale, shift: n.shift, epsilon: Double(BatchNormState.epsilon))
  }

  func loss(_ n: Numbers) -> Double {
    let pooled = normal(n).relu().pooled(kernel: 2, stride: 2) { $0.max()! }
    let convolved = pooled.convolution(weights: n.second, bias: n.secondBias, Self.kernel)
    let joined = convolved.with(zip(convolved.values, pooled.values).map { $0 + $1 })
    return joined.linear(weights: n.last, bias: n.lastBias).meanLoss(labels: labels, smoothing: Self.smoothing)
  }

  /// How far the nearest decision (of a ReLU or a maximum) is from tipping over.
  var margin: Double {
    let normal = normal(numbers)
    let gaps = normal.relu().pooled(kernel: 2, stride: 2) { window in
      let sorted = window.sorted()
      return sorted[3] > 0 && sorted[2] > 0 ? sorted[3] - sorted[2] : 1
    }
    return min(gaps.values.min()!, normal.values.map { abs($0) }.min()!)
  }

  /// Central differences of the loss by some of the numbers. The step stays within the margin.
  func derivative(_ path: WritableKeyPath<Numbers, [Double]>, _ indices: some Sequence<Int>) -> [Double] {
    var moved = numbers
    return OracleDerivative.central(
      {
        moved[keyPath: path] = $0
        return loss(moved)
      }, at: numbers[keyPath: path], indices: indices, step: 1e-6)
  }

  /// Loss, gradients of everything, and gradients at the last layer's and the convolutions' inactive connections.
  func run(_ context: ComputeContext) throws -> [[Float]] {
    let first = try context.parameter(first, name: "first", taps: 9)
    let second = try context.parameter(second, name: "second", taps: 9, index: 1)
    let last = try context.parameter(last, name: "last", index: 2)
    let biases = [firstBias, secondBias, lastBias].map(context.bias)
    let norm = BatchNormState(name: "norm", channels: 4, meter: context.meter)
    for c in 0..<4 {
      norm.scale.values[c] = scale[c]
      norm.shift.values[c] = shift[c]
    }
    let tape = Tape(context: context, mode: .training(step: 0))
    var inactive = [[Float]](repeating: [], count: 3)
    tape.gradientSiteVisitor = { inactive[$0.parameter.index] = try inactiveGradients($0, context) }
    let geometry = ConvolutionGeometry(kernel: 3, padding: 1)
    let source = tape.input(context.activations(x, padding: 3))
    let convolved = try tape.sparseConvolution(source, weight: first, bias: biases[0], geometry: geometry)
    let pooled = try tape.maxPool(tape.batchNorm(convolved, norm, relu: true), PoolGeometry(kernel: 2))
    let joined = tape.add(
      try tape.sparseConvolution(pooled, weight: second, bias: biases[1], geometry: geometry), pooled)
    let logits = try tape.sparseLinear(tape.flatten(joined), weight: last, bias: biases[2])
    let seed = context.pool.activations(logits.shape)
    let result = labels.map(UInt32.init).withUnsafeBufferPointer {
      context.softmaxCrossEntropy(
        logits.value, labels: $0, labelSmoothing: Float(Self.smoothing), gradient: seed)
    }
    let gradient = try #require(try tape.backward(from: logits, gradient: seed, sources: [source])[0])
    return [[Float(result.mean)], context.numbers(gradient)]
      + [first, second, last].map { $0.gradient.array } + biases.map { $0.gradient.array }
      + [norm.scale.gradient.array, norm.shift.gradient.array] + inactive
  }

  private func inactiveGradients(_ site: any GradientSite, _ context: ComputeContext) throws -> [Float] {
    let layer = [first, second, last][site.parameter.index]
    let structure = try SparseStructure(
      rows: layer.rows, columns: layer.columns, connections: layer.inactiveConnections, tag: .candidates,
      meter: context.meter)
    let gradients = MeteredBuffer<Float>(
      count: structure.count, tag: .candidates, site: site.parameter.matrix.site, meter: context.meter)
    site.computeGradients(at: structure, into: gradients)
    return gradients.array
  }
}

@Suite struct NetworkTests {
  /// A network whose decisions neither rounding nor a difference's step can change.
  private func network(batch: Int) throws -> Network {
    try #require((0..<200).lazy.map { Network(batch: batch, seed: $0) }.first { $0.margin > 2e-5 })
  }

  @Test(arguments: [1, 5, 33])
  func everyGradientMatchesCentralDifferences(batch: Int) throws {
    let network = try network(batch: batch)
    let n = network.numbers
    let inputs = Array(Swift.stride(from: 0, to: n.x.values.count, by: max(1, n.x.values.count / 60)))
    let expected: [[Double]] = [
      [network.loss(n)],
      network.derivative(\.x.values, inputs),
      network.derivative(\.first, network.first.cells), network.derivative(\.second, network.second.cells),
      network.derivative(\.last, network.last.cells),
      network.derivative(\.firstBias, 0..<4), network.derivative(\.secondBias, 0..<4),
      network.derivative(\.lastBias, 0..<3), network.derivative(\.scale, 0..<4), network.derivative(\.shift, 0..<4),
      network.derivative(\.first, network.first.inactiveCells),
      network.derivative(\.second, network.second.inactiveCells),
      network.derivative(\.last, network.last.inactiveCells),
    ]
    for result in try CoreHarness.everywhere(network.run) {
      for (i, expected) in expected.enumerated() {
        let actual = i == 1 ? inputs.map { result[1][$0] } : result[i]
        let largest = expected.map { abs($0) }.max()!
        // Six layers of at most 36 terms, each rounding once, and what batch norm's division magnifies. The first convolution's bias
        // has no gradient at all: batch norm takes its mean away.
        CoreHarness.expectClose(actual, expected, "gradient \(i)", rejectsZeros: i != 5) { _ in
          500 * CoreHarness.u * (i == 5 ? 1 : largest) + 2e-9
        }
      }
    }
  }

  @Test func aStepInEvaluationRecordsNothing() throws {
    let context = try ComputeContext(threads: 1)
    let tape = Tape(context: context, mode: .evaluation)
    let x = tape.input(context.activations(OracleTensor.distinct(3, channels: 4, seed: 1), padding: 0))
    #expect(!x.needsGradient)
    let y = tape.relu(x)
    let gradients = try tape.backward(from: y, gradient: y.value, sources: [x])
    #expect(gradients.count == 1 && gradients[0] == nil)
  }
}
