import EspalierCore
import EspalierTopology
import Foundation

/// A model with weights: the layers of a description, in order.
public struct Model {
  /// What the layers were made from.
  public let spec: ModelSpec
  /// The layers, in the order in which they run.
  public let layers: [any Layer]
  /// What an optimizer trains, in the layers' order.
  public let parameters: [any Parameter]
  /// Those of them that are sparse.
  public let sparseParameters: [SparseParameter]
  /// Whether the layers were given, so that they may compute something else than the description says.
  package private(set) var hasGivenLayers = false

  /// Makes the layers; the factory makes those with weights.
  public init(
    _ spec: ModelSpec, factory: some WeightLayerFactory, random: CounterRandom, context: ComputeContext
  ) throws {
    var assembly = Assembly(
      factory: factory, random: random, context: context, weightLayers: spec.weightLayers.makeIterator())
    self.init(spec, assembled: try assembly.layers(spec.layers, input: spec.input))
  }

  /// A model of these layers: those that a factory made for `spec`, some of them with others in their place.
  ///
  /// The description still says what is counted, so the sparse weights must be its own.
  ///
  /// - Throws: `EspalierError.usage` unless the layers' sparse weights are those of the description, in order, or there are none.
  public init(_ spec: ModelSpec, layers: [any Layer]) throws {
    self.init(spec, assembled: layers)
    hasGivenLayers = true
    guard !sparseParameters.isEmpty else { return }
    let found = sparseParameters.map { "\($0.layerName) \($0.matrix.rows) x \($0.matrix.columns)" }
    let expected = spec.weightLayers.map { "\($0.shape.name) \($0.shape.rows) x \($0.shape.columns)" }
    guard found == expected, sparseParameters.map(\.index) == Array(expected.indices) else {
      throw EspalierError.usage(
        "\(spec.name): the layers' sparse weights are \(found), expected the description's: \(expected)")
    }
  }

  private init(_ spec: ModelSpec, assembled layers: [any Layer]) {
    self.spec = spec
    self.layers = layers
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

  /// What an optimizer trains: the parameters, and the layers' backward sets.
  var trained: [any Parameter] { parameters + sparseParameters.compactMap(\.backward) }

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

  /// Structure both ways, values, gradient and optimizer state of all sparse layers, as they are now; of a model with dense weights values,
  /// gradient, optimizer state and mask.
  public var weightStateBytes: Int {
    guard sparseParameters.isEmpty else { return sparseParameters.reduce(0) { $0 + $1.bytes } }
    return denseWeights.reduce(0) { $0 + $1.bytes }
  }
}

extension Model {
  /// Structure both ways, values both ways, gradient and momentum.
  private static let bytesPerConnection = 28

  /// A sparse model: budgets by `distribution`, connections by `graph`, weights by fan-in.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have.
  public init(
    sparse spec: ModelSpec, sparsity: Double, distribution: some Distribution = ErdosRenyi(),
    graph: InitialGraph = .random, random: CounterRandom, context: ComputeContext
  ) throws {
    let budgets = try distribution.budgets(for: spec.weightLayers.map(\.shape), sparsity: sparsity)
    try Self.requireMemory(for: budgets, of: spec)
    let factory = SparseLayerFactory(budgets: budgets, graph: graph, random: random, context: context)
    try self.init(spec, factory: factory, random: random, context: context)
  }

  /// A model that Top-KAST trains: layers share the weights that are used as `distribution` says; those that are trained are as many more in
  /// each layer, up to all of it, as `backwardSparsity` has more than `sparsity`.
  ///
  /// Saved, exported and evaluated is what is used.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have, or a backward sparsity that is not 0 to `sparsity`.
  public init(
    topKAST spec: ModelSpec, sparsity: Double, backwardSparsity: Double, distribution: some Distribution = ErdosRenyi(),
    random: CounterRandom, context: ComputeContext
  ) throws {
    guard backwardSparsity >= 0, backwardSparsity <= sparsity else {
      throw EspalierError.usage(
        "backward-sparsity: \(backwardSparsity) is out of range; expected 0 to the sparsity, \(sparsity)")
    }
    let shapes = spec.weightLayers.map(\.shape)
    let budgets = try distribution.budgets(for: shapes, sparsity: sparsity)
    let factor = (1 - backwardSparsity) / (1 - sparsity)
    let backward = zip(shapes, budgets).map { min($0.size, max($1, Int((Double($1) * factor).rounded()))) }
    try Self.requireMemory(for: backward.map { 4 * $0 }, of: spec)
    let factory = TopKASTLayerFactory(
      budgets: budgets, backwardBudgets: backward, random: random, context: context)
    try self.init(spec, factory: factory, random: random, context: context)
  }

  /// - Throws: `EspalierError.usage` where this machine's memory cannot hold so many connections.
  private static func requireMemory(for budgets: [Int], of spec: ModelSpec) throws {
    let bytes = Double(budgets.reduce(0, +)) * Double(bytesPerConnection)
    let memory = Double(ProcessInfo.processInfo.physicalMemory)
    guard bytes < memory else {
      throw EspalierError.usage(
        "\(spec.name): \(budgets.reduce(0, +)) connections need some \(Int(bytes / 1e9)) GB, this machine has \(Int(memory / 1e9)) GB; use a higher sparsity or a narrower model"
      )
    }
  }
}
