import EspalierCore
import EspalierTopology

/// A linear layer of procedural weights.
struct ProceduralLinear: Layer {
  let weights: ProceduralWeights
  let bias: VectorParameter?

  func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.proceduralLinear(x.shape.positions == 1 ? x : tape.flatten(x), weights: weights, bias: bias)
  }
}

/// A convolution of procedural weights.
struct ProceduralConvolution: Layer {
  let weights: ProceduralWeights
  let bias: VectorParameter?
  let geometry: ConvolutionGeometry

  func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.proceduralConvolution(x, weights: weights, bias: bias, geometry: geometry)
  }
}

/// Makes layers whose dense weights are stored nowhere, to be looked at before a network is made sparse. They have the values that `--method
/// dense` starts with under the same seed.
package struct ProceduralLayerFactory: WeightLayerFactory {
  package let weights: [ProceduralWeights]
  let random: CounterRandom
  let context: ComputeContext

  /// - Parameter sparsity: of the network that is to come: about how many weights of a layer survive, which the size of tiles follows.
  package init(
    _ spec: ModelSpec, sparsity: Double, isMasked: Bool = false, takesMagnitudes: Bool = false, random: CounterRandom,
    context: ComputeContext
  ) {
    weights = spec.weightLayers.map { layer in
      let shape = layer.shape
      return ProceduralWeights(
        name: shape.name, index: layer.index, rows: shape.rows, columns: shape.columns, taps: shape.taps,
        connections: Int((1 - sparsity) * Double(shape.size)),
        stream: random.stream(.weights, layer: layer.index), range: FanInInitialization.range(fanIn: shape.columns),
        takesMagnitudes: takesMagnitudes, isMasked: isMasked, meter: context.meter)
    }
    self.random = random
    self.context = context
  }

  package func makeLayer(_ layer: WeightLayer) -> any Layer {
    let weights = weights[layer.index]
    let bias = layer.makeBias(random: random, context: context)
    guard let geometry = layer.geometry else { return ProceduralLinear(weights: weights, bias: bias) }
    return ProceduralConvolution(weights: weights, bias: bias, geometry: geometry)
  }
}

extension WeightLayer {
  /// The bias of a layer with all of its weights, if it has one.
  func makeBias(random: CounterRandom, context: ComputeContext) -> VectorParameter? {
    guard hasBias else { return nil }
    let bias = VectorParameter(name: shape.name + ".bias", count: shape.rows, meter: context.meter)
    FanInInitialization(random: random)(bias: bias, fanIn: shape.columns, index: index)
    return bias
  }
}

/// Makes sparse layers of weights that were chosen before.
struct ChosenLayerFactory: WeightLayerFactory {
  /// By layer.
  let chosen: [(structure: SparseStructure, values: MeteredBuffer<Float>)]
  let random: CounterRandom
  let context: ComputeContext

  func makeLayer(_ layer: WeightLayer) -> any Layer {
    let (structure, values) = chosen[layer.index]
    let matrix = SparseMatrix(
      name: layer.shape.name, structure: structure, taps: layer.shape.taps, meter: context.meter)
    matrix.withMutableValues { $0.baseAddress?.update(from: values.pointer, count: values.count) }
    let weight = SparseParameter(matrix: matrix, index: layer.index)
    let bias = layer.makeBias(random: random, context: context)
    guard let geometry = layer.geometry else { return SparseLinear(weight: weight, bias: bias) }
    return SparseConvolution(weight: weight, bias: bias, geometry: geometry)
  }
}
