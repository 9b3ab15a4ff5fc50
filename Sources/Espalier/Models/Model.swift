import EspalierCore
import EspalierTopology
import Foundation

/// A model with weights: the layers of a description, in order.
public struct Model {
  public let spec: ModelSpec
  public let layers: [any Layer]
  /// What an optimizer trains, in the layers' order.
  public let parameters: [any Parameter]
  /// Those of them that are sparse.
  public let sparseParameters: [SparseParameter]

  /// Makes the layers; the factory makes those with weights.
  public init(
    _ spec: ModelSpec, factory: some WeightLayerFactory, random: CounterRandom, context: ComputeContext
  ) throws {
    self.spec = spec
    var assembly = Assembly(
      factory: factory, random: random, context: context, weightLayers: spec.weightLayers.makeIterator())
    layers = try assembly.layers(spec.layers, input: spec.input)
    parameters = layers.flatMap(\.parameters)
    sparseParameters = parameters.compactMap { $0 as? SparseParameter }
  }

  /// Logits [samples, classes] of images [samples, channels, height, width].
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    var x = x
    for layer in layers { x = try layer(x, on: tape) }
    return x
  }

  /// All that has to be saved, in order of names.
  public var state: [StateTensor] { layers.flatMap(\.state).sorted { $0.name < $1.name } }

  /// Active connections of all sparse layers.
  public var connections: Int { sparseParameters.reduce(0) { $0 + $1.count } }

  /// Active weights of each weight layer: where it is dense all of them, or those that live.
  public var connectionCounts: [Int] {
    guard sparseParameters.isEmpty else { return sparseParameters.map(\.count) }
    return zip(spec.weightLayers, denseWeights).map { $1.mask?.count ?? $0.shape.size }
  }

  /// A dense model's weights, by layer.
  public var denseWeights: [VectorParameter] {
    let names = Set(spec.weightLayers.map { $0.shape.name + ".weight" })
    return parameters.compactMap { names.contains($0.name) ? $0 as? VectorParameter : nil }
  }

  /// Structure both ways, values, gradient and optimizer state of all sparse layers.
  public var weightStateBytes: Int {
    parameters.reduce(0) { sum, parameter in
      if let sparse = parameter as? SparseParameter { return sum + sparse.bytes }
      return sum
    }
  }
}

extension Model {
  /// Structure both ways, values both ways, gradient and momentum.
  private static let bytesPerConnection = 28

  /// A sparse model with a random graph: budgets by `distribution`, weights by fan-in.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have.
  public init(
    sparse spec: ModelSpec, sparsity: Double, distribution: some Distribution = ErdosRenyi(), random: CounterRandom,
    context: ComputeContext
  ) throws {
    let budgets = try distribution.budgets(for: spec.weightLayers.map(\.shape), sparsity: sparsity)
    let bytes = Double(budgets.reduce(0, +)) * Double(Self.bytesPerConnection)
    let memory = Double(ProcessInfo.processInfo.physicalMemory)
    guard bytes < memory else {
      throw EspalierError.usage(
        "\(spec.name): \(budgets.reduce(0, +)) connections need some \(Int(bytes / 1e9)) GB, this machine has \(Int(memory / 1e9)) GB; use a higher sparsity or a narrower model"
      )
    }
    let factory = SparseLayerFactory(budgets: budgets, random: random, context: context)
    try self.init(spec, factory: factory, random: random, context: context)
  }
}
