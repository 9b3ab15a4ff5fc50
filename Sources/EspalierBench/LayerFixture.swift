import EspDense
import Espalier

/// A layer's sparse weights, input and output gradient with random numbers, and the three products as training runs them: through the tape.
final class LayerFixture {
  let layer: LayerCase
  let context: ComputeContext
  let parameter: SparseParameter
  let input: Activations
  let delta: Activations
  /// nil for a linear layer.
  let kernelShape: esp_conv_shape?
  private(set) lazy var dense = DenseFixture(self)

  /// - Throws: `EspalierError.usage` where the kernel cannot take the sizes.
  init(_ layer: LayerCase, context: ComputeContext, seed: UInt64 = 0) throws {
    self.layer = layer
    self.context = context
    let random = CounterRandom(seed: seed)
    let structure = SparseStructure.random(
      name: layer.name, rows: layer.outputs, columns: layer.columns, count: layer.connections,
      stream: random.stream(.topology), meter: context.meter)
    let matrix = SparseMatrix(name: layer.name, structure: structure, taps: layer.taps, meter: context.meter)
    matrix.withMutableValues { random.stream(.weights).fill($0, in: -1..<1) }
    parameter = SparseParameter(matrix: matrix, index: 0)
    let inputShape = ActivationShape(
      samples: layer.batch, channels: layer.inputs, height: layer.inputHeight, width: layer.inputWidth)
    input = context.pool.random(inputShape, random.stream(.syntheticData, layer: 0))
    kernelShape = try layer.geometry?.kernelShape(input: inputShape, outputs: layer.outputs)
    delta = context.pool.random(
      inputShape.with(channels: layer.outputs, height: layer.height, width: layer.width),
      random.stream(.syntheticData, layer: 1))
  }

  private func forward(_ x: Variable, on tape: Tape) throws -> Variable {
    guard let geometry = layer.geometry else { return try tape.sparseLinear(x, weight: parameter, bias: nil) }
    return try tape.sparseConvolution(x, weight: parameter, bias: nil, geometry: geometry)
  }

  /// Makes everything ready; the closure that it returns computes one product once, or both gradients together, and returns what it
  /// computed, in the order of `products`.
  func products(_ products: [BenchKernel.Product]) throws -> () throws -> [UnsafeMutableBufferPointer<Float>] {
    switch products {
    case [.forward]: forwardProduct()
    case [.weightGradient]: try weightGradientProduct()
    case [.inputGradient]: try backwardProducts(withWeights: false)
    default: try backwardProducts(withWeights: true)
    }
  }

  private func forwardProduct() -> () throws -> [UnsafeMutableBufferPointer<Float>] {
    let tape = Tape(context: context, mode: .evaluation)
    return { [self] in
      result = nil
      let output = try forward(Variable(input), on: tape).value
      result = output
      return [output.buffer]
    }
  }

  /// With one permutation of the values, as after an optimizer's step.
  private func backwardProducts(withWeights: Bool) throws -> () throws -> [UnsafeMutableBufferPointer<Float>] {
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.computesSparseGradients = withWeights
    let x = tape.input(input)
    let y = try forward(x, on: tape)
    return { [self] in
      parameter.withMutableValues { _ in }
      result = nil
      let gradients = try tape.backward(from: y, gradient: delta, sources: [x])
      guard let gradient = gradients[0] else {
        throw EspalierError.invariant("\(layer.name): the input has no gradient")
      }
      result = gradient
      return withWeights ? [gradient.buffer, parameter.gradient.buffer] : [gradient.buffer]
    }
  }

  private func weightGradientProduct() throws -> () throws -> [UnsafeMutableBufferPointer<Float>] {
    let tape = Tape(context: context, mode: .training(step: 0))
    var site: (any GradientSite)?
    tape.gradientSiteVisitor = { site = $0 }
    tape.computesSparseGradients = false
    let y = try forward(Variable(input), on: tape)
    try tape.backward(from: y, gradient: delta)
    guard let site else { throw EspalierError.invariant("\(layer.name): the layer showed no gradient") }
    return { [parameter] in
      site.computeGradients(at: parameter.matrix.structure, into: parameter.gradient)
      return [parameter.gradient.buffer]
    }
  }

  /// The last product, whose memory the next one takes over: OpenBLAS, too, writes where it wrote before.
  private var result: Activations?

  /// Puts NaN where the product will lie, as far as one can tell, so that what it leaves out does not look right by chance.
  func spoilOutput(of product: BenchKernel.Product) {
    result = nil
    switch product {
    case .forward: context.pool.activations(delta.shape).buffer.update(repeating: .nan)
    case .inputGradient: context.pool.activations(input.shape).buffer.update(repeating: .nan)
    case .weightGradient: parameter.gradient.buffer.update(repeating: .nan)
    }
  }
}

extension ActivationPool {
  /// Uniform in [-1, 1); lanes that pad the last block are zero.
  func random(_ shape: ActivationShape, _ stream: CounterRandom.Stream) -> Activations {
    let result = activations(shape)
    stream.fill(result.buffer, in: -1..<1)
    let present = shape.samples - (shape.blocks - 1) * shape.lanes
    guard present < shape.lanes else { return result }
    let block = result.pointer + (shape.blocks - 1) * shape.features * shape.lanes
    for feature in 0..<shape.features {
      (block + feature * shape.lanes + present).update(repeating: 0, count: shape.lanes - present)
    }
    return result
  }
}
