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

/// Makes sparse layers with a graph of exactly the budgeted size.
public struct SparseLayerFactory: WeightLayerFactory {
  /// Number of connections of each weight layer.
  public let budgets: [Int]
  /// How the layers' first connections are chosen.
  public let graph: InitialGraph
  /// Draws structures and weights, keyed by the layer's number.
  public let random: CounterRandom
  /// Whose meter counts the layers' memory.
  public let context: ComputeContext

  /// A factory for a model with as many weight layers as `budgets`.
  public init(budgets: [Int], graph: InitialGraph = .random, random: CounterRandom, context: ComputeContext) {
    self.budgets = budgets
    self.graph = graph
    self.random = random
    self.context = context
  }

  /// A layer with `budgets[layer.index]` random connections, weights and biases by fan-in.
  public func makeLayer(_ layer: WeightLayer) throws -> any Layer {
    let structure = SparseStructure.initial(
      graph, layer.shape, count: budgets[layer.index], index: layer.index, random: random, meter: context.meter)
    let matrix = SparseMatrix(
      name: layer.shape.name, structure: structure, taps: layer.shape.taps, meter: context.meter)
    let weight = SparseParameter(matrix: matrix, index: layer.index)
    return layer.made(of: weight, random: random, meter: context.meter)
  }
}

/// Makes layers of Top-KAST: the largest starting weights of all are used, the next largest are trained beside them.
public struct TopKASTLayerFactory: WeightLayerFactory {
  /// Number of weights of each weight layer that are used.
  public let budgets: [Int]
  /// Number of those that are trained: the same and more.
  public let backwardBudgets: [Int]
  /// Draws structures and weights, keyed by the layer's number.
  public let random: CounterRandom
  /// Whose meter counts the layers' memory.
  public let context: ComputeContext

  /// - Precondition: 0 < budgets <= backwardBudgets <= the layers' sizes.
  public init(budgets: [Int], backwardBudgets: [Int], random: CounterRandom, context: ComputeContext) {
    self.budgets = budgets
    self.backwardBudgets = backwardBudgets
    self.random = random
    self.context = context
  }

  /// The layer with its first structure and weights.
  public func makeLayer(_ layer: WeightLayer) throws -> any Layer {
    let start = TopKAST.start(
      layer.shape, index: layer.index, forward: budgets[layer.index], backward: backwardBudgets[layer.index],
      random: random, context: context)
    let matrix = SparseMatrix(
      name: layer.shape.name, structure: start.forward.structure, taps: layer.shape.taps, meter: context.meter)
    let weight = SparseParameter(matrix: matrix, index: layer.index)
    let made = layer.made(of: weight, random: random, meter: context.meter)
    matrix.withMutableValues { _ = $0.update(fromContentsOf: start.forward.values.buffer) }
    weight.backward = start.backward(matrix)
    return made
  }
}

extension WeightLayer {
  /// The layer with these weights, which are drawn, as its biases are.
  fileprivate func made(of weight: SparseParameter, random: CounterRandom, meter: AllocationMeter) -> any Layer {
    let bias = hasBias ? VectorParameter(name: shape.name + ".bias", count: shape.rows, meter: meter) : nil
    FanInInitialization(random: random)(weight, bias: bias)
    guard let geometry else { return SparseLinear(weight: weight, bias: bias) }
    return SparseConvolution(weight: weight, bias: bias, geometry: geometry)
  }
}
