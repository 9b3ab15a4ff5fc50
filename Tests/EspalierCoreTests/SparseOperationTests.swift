import EspalierCore
import TestSupport
import Testing

@Suite struct SparseLinearTapeTests {
  @Test(arguments: CoreHarness.batches, [(2, 1, 1), (11, 7, 20), (7, 9, 62), (40, 3, 9)])
  func matchesTheDenseOracle(batch: Int, size: (inputs: Int, outputs: Int, connections: Int)) throws {
    var random = LayerRandom(seed: UInt64(batch * 100 + size.inputs))
    let x = OracleTensor(samples: batch, channels: size.inputs, using: &random)
    let layer = SparseLayerCase(
      kernel: OracleKernel(height: 1, width: 1), x: x, outputs: size.outputs, connections: size.connections,
      using: &random)
    try layer.check { try $0.sparseLinear($1, weight: $2, bias: $3) }
  }

  /// A token's features are an image's channels at one position.
  @Test(arguments: CoreHarness.batches, [(2, 1, 1), (11, 7, 20)])
  func matchesTheDenseOracleAtEveryToken(batch: Int, size: (inputs: Int, outputs: Int, connections: Int)) throws {
    var random = LayerRandom(seed: UInt64(batch * 100 + size.inputs))
    let x = OracleTensor(samples: batch, channels: size.inputs, height: 2, width: 3, using: &random)
    let layer = SparseLayerCase(
      kernel: OracleKernel(height: 1, width: 1), x: x, outputs: size.outputs, connections: size.connections,
      using: &random)
    try layer.check(tokens: [.input, .output]) { try $0.sparseLinear($1, weight: $2, bias: $3) }
  }

  @Test func takesAnImageAsItsFeatures() throws {
    var random = LayerRandom(seed: 5)
    let x = OracleTensor(samples: 5, channels: 12, using: &random)
    let layer = OracleLayer(rows: 4, columns: 12, count: 20, using: &random)
    let context = try ComputeContext(threads: 1)
    let parameter = try context.parameter(layer)
    let tape = Tape(context: context, mode: .evaluation)
    let vector = try tape.sparseLinear(Variable(context.activations(x, padding: 0)), weight: parameter, bias: nil)
    let image = OracleTensor(samples: 5, channels: 3, height: 2, width: 2, values: x.values)
    let same = try tape.sparseLinear(Variable(context.activations(image, padding: 0)), weight: parameter, bias: nil)
    #expect(context.numbers(vector.value) == context.numbers(same.value))
    #expect(same.shape == ActivationShape(samples: 5, channels: 4))
    #expect(!same.needsGradient)
  }

  @Test func refusesTheWrongNumberOfInputs() throws {
    let context = try ComputeContext(threads: 1)
    var random = LayerRandom(seed: 6)
    let parameter = try context.parameter(OracleLayer(rows: 4, columns: 12, count: 20, using: &random))
    let x = Variable(context.pool.activations(ActivationShape(samples: 2, channels: 11)))
    let tape = Tape(context: context, mode: .training(step: 0))
    #expect(throws: EspalierError.usage("layer: expected 12 inputs, found 11")) {
      try tape.sparseLinear(x, weight: parameter, bias: nil)
    }
  }

  /// A constant input gets no gradient, and neither do weights whose gradients are not asked for.
  @Test func computesOnlyWhatIsNeeded() throws {
    var random = LayerRandom(seed: 7)
    let x = OracleTensor(samples: 3, channels: 6, using: &random)
    let delta = OracleTensor(samples: 3, channels: 4, using: &random)
    let context = try ComputeContext(threads: 1)
    let parameter = try context.parameter(OracleLayer(rows: 4, columns: 6, count: 10, using: &random))
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.computesSparseGradients = false
    var visits = 0
    tape.gradientSiteVisitor = { site in
      #expect(site.parameter === parameter)
      visits += 1
    }
    let constant = Variable(context.activations(x, padding: 0))
    let output = try tape.sparseLinear(constant, weight: parameter, bias: nil)
    let gradients = try tape.backward(
      from: output, gradient: context.activations(delta, padding: 0), sources: [constant])
    #expect(gradients.count == 1 && gradients[0] == nil)
    #expect(visits == 1)
    let isUntouched = parameter.gradient.array.allSatisfy(\.isNaN)
    #expect(isUntouched)
  }
}

@Suite struct SparseConvolutionTapeTests {
  static let kernels = [
    OracleKernel(height: 1, width: 1), OracleKernel(height: 1, width: 1, stride: 2),
    OracleKernel(height: 3, width: 3), OracleKernel(height: 3, width: 3, padding: 1),
    OracleKernel(height: 3, width: 3, stride: 2), OracleKernel(height: 3, width: 3, stride: 2, padding: 1),
    OracleKernel(height: 2, width: 3, padding: 1), OracleKernel(height: 3, width: 2, stride: 2, padding: 1),
  ]

  /// What has reached the input's gradient already is added on the way: images with rows shorter and longer than vectors.
  @Test(arguments: CoreHarness.batches, [5, 20])
  func addsToTheGradientThatIsThere(batch: Int, width: Int) throws {
    var random = LayerRandom(seed: UInt64(batch))
    let x = OracleTensor(samples: batch, channels: 3, height: 4, width: width, using: &random)
    let delta = OracleTensor(samples: batch, channels: 3, height: 4, width: width, using: &random)
    let layer = OracleLayer(rows: 3, columns: 27, count: 30, using: &random)
    let geometry = ConvolutionGeometry(kernel: 3, padding: 1)
    let results = try CoreHarness.everywhere { context in
      let weight = try context.parameter(layer, taps: 9)
      let alone = try context.trained(x, delta: delta) {
        try $0.sparseConvolution($1, weight: weight, bias: nil, geometry: geometry)
      }
      let added = try context.trained(x, delta: delta) {
        $0.add(try $0.sparseConvolution($1, weight: weight, bias: nil, geometry: geometry), $1)
      }
      return [alone.gradient, added.gradient]
    }
    for result in results {
      let expected = zip(result[0], delta.values).map { Double($0) + $1 }
      // Thirty terms below 1, added in another order.
      CoreHarness.expectClose(result[1], expected, "input gradient") { _ in 64 * 30 * CoreHarness.u }
    }
  }

  @Test(arguments: CoreHarness.batches, kernels)
  func matchesTheDenseOracle(batch: Int, kernel: OracleKernel) throws {
    var random = LayerRandom(seed: UInt64(batch * 10 + kernel.taps))
    let x = OracleTensor(samples: batch, channels: 3, height: 6, width: 5, using: &random)
    let layer = SparseLayerCase(
      kernel: kernel, x: x, outputs: 4, connections: 3 * 4 * kernel.taps * 2 / 5 + 2, using: &random)
    let geometry = ConvolutionGeometry(
      kernelHeight: kernel.height, kernelWidth: kernel.width, stride: kernel.stride, padding: kernel.padding)
    try layer.check { try $0.sparseConvolution($1, weight: $2, bias: $3, geometry: geometry) }
  }

  @Test func refusesOtherShapes() throws {
    let context = try ComputeContext(threads: 1)
    var random = LayerRandom(seed: 8)
    let parameter = try context.parameter(OracleLayer(rows: 2, columns: 27, count: 20, using: &random), taps: 9)
    let tape = Tape(context: context, mode: .training(step: 0))
    func convolve(channels: Int, height: Int, kernel: Int, padding: Int = 0) throws {
      let shape = ActivationShape(samples: 2, channels: channels, height: height, width: 5)
      _ = try tape.sparseConvolution(
        Variable(context.pool.activations(shape)), weight: parameter, bias: nil,
        geometry: ConvolutionGeometry(kernel: kernel, padding: padding))
    }
    #expect(performing: { try convolve(channels: 2, height: 5, kernel: 3) }, throws: CoreHarness.isUsage)
    #expect(performing: { try convolve(channels: 27, height: 5, kernel: 1) }, throws: CoreHarness.isUsage)
    #expect(performing: { try convolve(channels: 3, height: 2, kernel: 3) }, throws: CoreHarness.isUsage)
    #expect(performing: { try convolve(channels: 3, height: 5, kernel: 3, padding: 3) }, throws: CoreHarness.isUsage)
    try convolve(channels: 3, height: 5, kernel: 3, padding: 2)
  }
}
