import EspalierCore
import TestSupport
import Testing

/// x + W2 act(W1 norm(x) + b1) + b2 of each token, act = GELU or the identity, in Double.
private struct ChainCase {
  let x, delta: OracleTensor
  let first, second: OracleLayer
  let scale, shift: [Float]
  let biases: [[Float]]
  let gelu: Bool

  init(batch: Int, gelu: Bool) {
    var random = LayerRandom(seed: UInt64(batch))
    // Six tokens: some that are worked on together, and a rest.
    x = OracleTensor(samples: batch, channels: 5, height: 2, width: 3, using: &random).map { 2 * $0 + 1 }
    delta = OracleTensor(samples: batch, channels: 5, height: 2, width: 3, using: &random)
    first = OracleLayer(rows: 7, columns: 5, count: 20, using: &random)
    second = OracleLayer(rows: 5, columns: 7, count: 16, using: &random)
    scale = random.floats(5)
    shift = random.floats(5)
    biases = [random.floats(7), random.floats(5)]
    self.gelu = gelu
  }

  /// x, scale, shift, W1, b1, W2, b2.
  var arguments: [[Double]] {
    [x.values, scale.map(Double.init), shift.map(Double.init), first.dense, biases[0].map(Double.init), second.dense]
      + [biases[1].map(Double.init)]
  }

  func output(_ a: [[Double]], of x: OracleTensor) -> OracleTensor {
    let kernel = OracleKernel(height: 1, width: 1)
    let hidden = x.layerNorm(scale: a[1], shift: a[2]).convolution(weights: a[3], bias: a[4], kernel)
    return x + (gelu ? hidden.gelu() : hidden).convolution(weights: a[5], bias: a[6], kernel)
  }

  /// The gradient of each argument.
  var gradients: [[Double]] {
    let arguments = arguments
    let ofInput = (0..<x.samples).flatMap { index in
      let (sample, seed) = (x.sample(index), delta.sample(index))
      return OracleDerivative.central(
        { output(arguments, of: sample.with($0)).dot(seed) }, at: sample.values, indices: sample.values.indices)
    }
    return [ofInput]
      + (1..<arguments.count).map { i in
        OracleDerivative.central(
          { moved in
            var all = arguments
            all[i] = moved
            return output(all, of: x).dot(delta)
          }, at: arguments[i], indices: arguments[i].indices)
      }
  }
}

@Suite struct TokenChainTests {
  /// With GELU one chain that is added to its own input; without, two, the second of which adds to the first one's input.
  private func run(
    _ test: ChainCase, _ context: ComputeContext, hasBackwardSets: Bool = false,
    visitor: ((any GradientSite) throws -> Void)?
  ) throws -> [[Float]] {
    let norm = LayerNormState(name: "norm", channels: 5, meter: context.meter)
    for c in 0..<5 {
      norm.scale.values[c] = test.scale[c]
      norm.shift.values[c] = test.shift[c]
    }
    let weights = [
      try context.parameter(test.first, name: "first"), try context.parameter(test.second, name: "second"),
    ]
    for (weight, layer) in zip(weights, [test.first, test.second]) where hasBackwardSets {
      try context.addBackwardSet(to: weight, of: layer)
    }
    let biases = test.biases.map { context.bias($0) }
    for vector in [norm.scale, norm.shift] { vector.gradient.buffer.update(repeating: .nan) }
    let links: [TokenLink] = [.norm(norm), .linear(weight: weights[0], bias: biases[0])]
    let last: TokenLink = .linear(weight: weights[1], bias: biases[1])
    let (output, gradient) = try context.trained(
      test.x, delta: test.delta, tokens: [.input, .output], padding: 3, visitor: visitor
    ) { tape, x in
      if test.gelu { return try tape.tokenChain(x, links + [.gelu, last], adding: x) }
      return try tape.tokenChain(try tape.tokenChain(x, links), [last], adding: x)
    }
    return [output, gradient, norm.scale.gradient.array, norm.shift.gradient.array]
      + zip(weights, biases).flatMap { [$0.gradient.array, $1.gradient.array] }
      + weights.compactMap { $0.backward?.gradient.array }
  }

  @Test(arguments: CoreHarness.batches, [true, false])
  func matchesTheOracle(batch: Int, gelu: Bool) throws {
    let test = ChainCase(batch: batch, gelu: gelu)
    var expected = test.gradients
    let inactive = [test.first, test.second].enumerated().map { i, layer in
      layer.inactiveCells.map { expected[3 + 2 * i][$0] }
    }
    for (i, layer) in [test.first, test.second].enumerated() {
      expected[3 + 2 * i] = layer.cells.map { expected[3 + 2 * i][$0] }
    }
    expected.insert(test.output(test.arguments, of: test.x).values, at: 0)
    let results = try CoreHarness.everywhere { context in
      let alone = try run(test, context, visitor: nil)
      var seen: [String: [Float]] = [:]
      let visited = try run(test, context) { site in
        seen[site.parameter.name] = try gradients(at: site, of: test, context)
      }
      let same = alone.map { $0.map(\.bitPattern) } == visited.map { $0.map(\.bitPattern) }
      #expect(same, "a visitor changes nothing")
      let candidates = [seen["first.weight"] ?? [], seen["second.weight"] ?? []]
      let trained = try run(test, context, hasBackwardSets: true, visitor: nil)
      #expect(trained == visited + candidates, "weights that are trained and not used get gradients and change nothing")
      return visited + candidates
    }
    // Sums of a few products; a parameter's gradient is a sum over tokens and samples of such, each of the size of 1.
    let terms = Double(6 * batch)
    for result in results {
      for (i, values) in (expected + inactive).enumerated() {
        let largest = values.map { abs($0) }.max() ?? 0
        CoreHarness.expectClose(result[i], values, "result \(i)") { _ in
          (100 * largest + (i > 1 ? 60 * terms : 0)) * CoreHarness.u + 1e-9
        }
      }
    }
  }

  /// The gradient at every connection that the layer lacks.
  private func gradients(at site: any GradientSite, of test: ChainCase, _ context: ComputeContext) throws -> [Float] {
    let layer = site.parameter.name == "first.weight" ? test.first : test.second
    let structure = try SparseStructure(
      rows: layer.rows, columns: layer.columns, connections: layer.inactiveConnections, tag: .candidates,
      meter: context.meter)
    let gradients = MeteredBuffer<Float>(
      count: structure.count, tag: .candidates, site: site.parameter.matrix.site, meter: context.meter)
    gradients.buffer.update(repeating: .nan)
    site.computeGradients(at: structure, into: gradients)
    return gradients.array
  }

  @Test func evaluationGivesTheSameOutput() throws {
    let test = ChainCase(batch: 5, gelu: true)
    let context = try ComputeContext(threads: 2)
    let weight = try context.parameter(test.first)
    let x = Variable(context.activations(test.x, padding: 0, areTokens: true))
    let links: [TokenLink] = [.linear(weight: weight, bias: nil), .gelu]
    let outputs = try [Tape.Mode.evaluation, .training(step: 0)].map {
      context.numbers(try Tape(context: context, mode: $0).tokenChain(x, links).value)
    }
    #expect(outputs[0] == outputs[1])
    let tape = Tape(context: context, mode: .evaluation)
    let steps = tape.gelu(try tape.sparseLinear(x, weight: weight, bias: nil))
    #expect(outputs[0] == context.numbers(steps.value))
  }

  /// A constant input gets no gradient, and neither do weights whose gradients are not asked for.
  @Test func computesOnlyWhatIsNeeded() throws {
    let test = ChainCase(batch: 3, gelu: true)
    let context = try ComputeContext(threads: 1)
    let weight = try context.parameter(test.first)
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.computesSparseGradients = false
    let x = Variable(context.activations(test.x, padding: 0, areTokens: true))
    let output = try tape.tokenChain(x, [.linear(weight: weight, bias: nil)])
    let delta = context.pool.activations(output.shape)
    delta.buffer.update(repeating: 1)
    let gradients = try tape.backward(from: output, gradient: delta, sources: [x])
    #expect(gradients.count == 1 && gradients[0] == nil)
    let isUntouched = weight.gradient.array.allSatisfy(\.isNaN)
    #expect(isUntouched)
  }

  @Test func refusesWhatDoesNotFit() throws {
    let test = ChainCase(batch: 3, gelu: true)
    let context = try ComputeContext(threads: 1)
    let weight = try context.parameter(test.second)
    let tape = Tape(context: context, mode: .training(step: 0))
    let x = Variable(context.activations(test.x, padding: 0, areTokens: true))
    #expect(throws: EspalierError.usage("layer.weight: expected 7 features a token, found 5")) {
      try tape.tokenChain(x, [.linear(weight: weight, bias: nil)])
    }
    let links = [TokenLink](repeating: .gelu, count: Tape.longestTokenChain + 1)
    #expect(throws: EspalierError.self) { try tape.tokenChain(x, links) }
  }
}
