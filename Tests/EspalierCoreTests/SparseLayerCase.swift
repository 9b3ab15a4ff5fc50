import EspalierCore
import TestSupport
import Testing

/// One layer, a batch and the gradient of its output; the expected results by a dense convolution in Double and its differences.
struct SparseLayerCase {
  let kernel: OracleKernel
  let layer: OracleLayer
  let bias: [Float]
  let x: OracleTensor
  let delta: OracleTensor

  init(kernel: OracleKernel, x: OracleTensor, outputs: Int, connections: Int, using random: inout LayerRandom) {
    self.kernel = kernel
    self.x = x
    layer = OracleLayer(rows: outputs, columns: x.channels * kernel.taps, count: connections, using: &random)
    bias = random.floats(outputs)
    let shape = x.convolution(weights: layer.dense, bias: bias.map(Double.init), kernel)
    delta = OracleTensor(
      samples: x.samples, channels: outputs, height: shape.height, width: shape.width, using: &random)
  }

  /// What sums are taken of: the numbers, their magnitudes, or ones.
  private enum Terms {
    case numbers, magnitudes, ones

    func of(_ value: Double) -> Double {
      switch self {
      case .numbers: value
      case .magnitudes: abs(value)
      case .ones: 1
      }
    }
  }

  private func sums(_ body: (Terms) -> [Double]) -> OracleSums {
    OracleSums(values: body(.numbers), magnitudes: body(.magnitudes), terms: body(.ones))
  }

  private func x(_ terms: Terms) -> OracleTensor { x.map(terms.of) }
  private func delta(_ terms: Terms) -> OracleTensor { delta.map(terms.of) }
  private func weights(_ terms: Terms) -> [Double] { layer.dense { terms.of(Double($0)) } }
  private func bias(_ terms: Terms) -> [Double] { bias.map { terms.of(Double($0)) } }

  var output: OracleSums { sums { x($0).convolution(weights: weights($0), bias: bias($0), kernel).values } }

  /// Of every cell, active or not.
  var weightGradient: OracleSums {
    sums { terms in
      let (x, delta, bias) = (x(terms), delta(terms), bias(terms))
      return OracleDerivative.affine(
        { x.convolution(weights: $0, bias: bias, kernel).dot(delta) }, at: weights(terms),
        indices: 0..<layer.rows * layer.columns)
    }
  }

  var biasGradient: OracleSums {
    sums { terms in
      let (x, delta, weights) = (x(terms), delta(terms), weights(terms))
      return OracleDerivative.affine(
        { x.convolution(weights: weights, bias: $0, kernel).dot(delta) }, at: bias(terms), indices: bias.indices)
    }
  }

  var inputGradient: OracleSums {
    sums { terms in
      let (weights, bias) = (weights(terms), bias(terms))
      return (0..<x.samples).flatMap { index in
        let sample = x(terms).sample(index)
        let delta = delta(terms).sample(index)
        return OracleDerivative.affine(
          { sample.with($0).convolution(weights: weights, bias: bias, kernel).dot(delta) },
          at: sample.values, indices: sample.values.indices)
      }
    }
  }

  /// Runs the operation everywhere and compares output, input gradient and the gradients of bias and of every cell.
  func check(
    tokens: TokenSides = [], _ operation: (Tape, Variable, SparseParameter, VectorParameter) throws -> Variable
  ) throws {
    let results = try CoreHarness.everywhere { context in
      let parameter = try context.parameter(layer, taps: kernel.taps)
      try context.addBackwardSet(to: parameter, of: layer)
      let vector = context.bias(bias)
      var candidates: [Float] = []
      let (output, gradient) = try context.trained(
        x, delta: delta, tokens: tokens, visitor: { site in candidates = try inactiveGradients(site, context) }
      ) { try operation($0, $1, parameter, vector) }
      let unused = try #require(parameter.backward).gradient.array
      return [output, gradient, parameter.gradient.array, vector.gradient.array, candidates, unused]
    }
    let dense = weightGradient
    let inactive = dense[layer.inactiveCells]
    let expected = [output, inputGradient, dense[layer.cells], biasGradient, inactive, inactive]
    let names =
      ["output", "input gradient", "weight gradient", "bias gradient", "gradient at inactive connections"]
      + ["gradient of weights that are not used"]
    for result in results {
      for (actual, (sums, name)) in zip(result, zip(expected, names)) {
        CoreHarness.expectClose(actual, sums, name)
      }
    }
  }

  /// The gradient at every connection that the layer lacks.
  private func inactiveGradients(_ site: any GradientSite, _ context: ComputeContext) throws -> [Float] {
    let structure = try SparseStructure(
      rows: layer.rows, columns: layer.columns, connections: layer.inactiveConnections, tag: .candidates,
      meter: context.meter)
    let gradients = MeteredBuffer<Float>(
      count: structure.count, tag: .candidates, site: site.parameter.matrix.site, meter: context.meter)
    gradients.buffer.update(repeating: .nan)
    site.computeGradients(at: structure, into: gradients)
    return gradients.array
  }
}
