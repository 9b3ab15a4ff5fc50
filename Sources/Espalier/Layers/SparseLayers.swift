import EspalierCore
import EspalierTopology

/// A sparse linear layer: y = W x + b, of each token where there are several.
public struct SparseLinear: TokenLayer {
  var link: TokenLink { .linear(weight: weight, bias: bias) }
  /// W [outputs, inputs].
  public let weight: SparseParameter
  /// b [outputs]; nil for none.
  public let bias: VectorParameter?

  /// A layer of these parameters, which it shares.
  public init(weight: SparseParameter, bias: VectorParameter?) {
    self.weight = weight
    self.bias = bias
  }

  public var parameters: [any Parameter] { [weight] + (bias.map { [$0] } ?? []) }
  public var state: [StateTensor] { [.sparse(weight)] + (bias.map { [$0.state] } ?? []) }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.sparseLinear(x.shape.positions == 1 ? x : tape.flatten(x), weight: weight, bias: bias)
  }
}

/// A sparse 2-D convolution.
public struct SparseConvolution: Layer {
  /// The kernels [output channels, input channels * kernel height * kernel width].
  public let weight: SparseParameter
  /// One number an output channel; nil for none.
  public let bias: VectorParameter?
  /// Kernel, stride and padding.
  public let geometry: ConvolutionGeometry

  /// A layer of these parameters, which it shares.
  public init(weight: SparseParameter, bias: VectorParameter?, geometry: ConvolutionGeometry) {
    self.weight = weight
    self.bias = bias
    self.geometry = geometry
  }

  public var parameters: [any Parameter] { [weight] + (bias.map { [$0] } ?? []) }
  public var state: [StateTensor] { [.sparse(weight)] + (bias.map { [$0.state] } ?? []) }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.sparseConvolution(x, weight: weight, bias: bias, geometry: geometry)
  }
}

extension VectorParameter {
  /// As a checkpoint sees it.
  public var state: StateTensor { .dense(name: name, shape: [count], values: values) }
}

/// Makes sparse layers with a random graph of exactly the budgeted size.
public struct SparseLayerFactory: WeightLayerFactory {
  /// Number of connections of each weight layer.
  public let budgets: [Int]
  /// Draws structures and weights, keyed by the layer's number.
  public let random: CounterRandom
  /// Whose meter counts the layers' memory.
  public let context: ComputeContext

  /// A factory for a model with as many weight layers as `budgets`.
  public init(budgets: [Int], random: CounterRandom, context: ComputeContext) {
    self.budgets = budgets
    self.random = random
    self.context = context
  }

  /// A layer with `budgets[layer.index]` random connections, weights and biases by fan-in.
  public func makeLayer(_ layer: WeightLayer) throws -> any Layer {
    let structure = SparseStructure.random(
      layer.shape, count: budgets[layer.index], stream: random.stream(.topology, layer: layer.index),
      meter: context.meter)
    let matrix = SparseMatrix(
      name: layer.shape.name, structure: structure, taps: layer.shape.taps, meter: context.meter)
    let weight = SparseParameter(matrix: matrix, index: layer.index)
    let bias =
      layer.hasBias
      ? VectorParameter(name: layer.shape.name + ".bias", count: layer.shape.rows, meter: context.meter) : nil
    FanInInitialization(random: random)(weight, bias: bias)
    guard let geometry = layer.geometry else { return SparseLinear(weight: weight, bias: bias) }
    return SparseConvolution(weight: weight, bias: bias, geometry: geometry)
  }
}
