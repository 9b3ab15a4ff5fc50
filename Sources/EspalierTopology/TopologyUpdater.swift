import EspalierCore

/// What an updater sees of one sparse layer during the backward pass of an update step, while the layer's input and the gradient of
/// its output are alive.
public protocol LayerProbe {
  /// Structure, weights and name.
  var weights: SparseParameter { get }
  /// Active connections of all sparse layers.
  var networkConnections: Int { get }
  /// The loss's gradient at the listed connections, active or not: one number a connection.
  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float>
  /// How active the layer's inputs and outputs are in this batch.
  func activity(_ measure: ActivityMeasure) -> LayerActivity
  /// Shows `body` the loss's gradient at every connection, some rows at a time, in order: dense operations, sparse memory.
  func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows
}

/// Connections that one layer might grow, and the loss's gradient at each: all that outlives the layer's backward pass.
public struct LayerCandidates {
  /// The layer's weights.
  public let weights: SparseParameter
  /// The candidates: inactive, each listed once.
  public let connections: SparseStructure
  /// Empty where the updater does not look at gradients.
  public let gradients: MeteredBuffer<Float>?
  /// The gradient at the active connections, where the updater asked for it.
  public let activeGradients: MeteredBuffer<Float>?
  /// What the candidates compete by, where it is not their gradients in one batch: the sums over several.
  public var scores: MeteredBuffer<Float>?
  /// How many inactive connections were compared: all of them where the gradient was streamed.
  public let examined: Int

  /// Candidates of a layer; `examined` is their number where nil.
  public init(
    weights: SparseParameter, connections: SparseStructure, gradients: MeteredBuffer<Float>?,
    activeGradients: MeteredBuffer<Float>? = nil, examined: Int? = nil
  ) {
    self.weights = weights
    self.connections = connections
    self.gradients = gradients
    self.activeGradients = activeGradients
    self.examined = examined ?? connections.count
  }

  /// No candidate: for updaters that grow without looking.
  public static func none(in weights: SparseParameter, activeGradients: MeteredBuffer<Float>? = nil) -> LayerCandidates
  {
    let matrix = weights.matrix
    let empty = SparseStructure.empty(
      rows: matrix.rows, columns: matrix.columns, tag: .candidates, site: matrix.site, meter: matrix.meter)
    return LayerCandidates(
      weights: weights, connections: empty, gradients: nil, activeGradients: activeGradients)
  }
}

/// Decides which connections the sparse layers drop and add.
///
/// On an update step `candidates` is called once a layer, inside the backward pass; then `changes` once for all layers, so that a choice
/// over the whole network is possible. `changes(afterStep:)` is called after every step of the optimizer.
public protocol TopologyUpdater: Sendable {
  /// When connections move.
  var schedule: UpdateSchedule { get }

  /// What the updater carries from one update to the next, beside the parameters' topology state: for checkpoints. Empty for most.
  var state: [Double] { get set }

  /// The exact number of connections of the network after the update at `step` of a run that began with `count`.
  func connections(afterStep step: Int, startingWith count: Int) -> Int

  /// Looks at one layer and returns what it could grow.
  ///
  /// - Postcondition: the candidates are inactive.
  /// - Complexity: O(n + nnz) for an always-sparse updater.
  func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) throws -> LayerCandidates

  /// Returns one change a layer, in the layers' order; does not change the layers. Pruned and grown counts may differ in a layer.
  ///
  /// - Postcondition: grown connections were inactive and are distinct; the network's number of connections becomes that of
  ///   `connections(afterStep:startingWith:)`.
  mutating func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) throws -> [TopologyChange]

  /// Returns one change a layer after an optimizer step of the given learning rate, whose weights it may move; nil for none.
  mutating func changes(
    afterStep step: Int, of layers: [SparseParameter], learningRate: Double, random: CounterRandom
  ) throws -> [TopologyChange]?
}

extension TopologyUpdater {
  public var state: [Double] {
    get { [] }
    set {}
  }

  public func connections(afterStep step: Int, startingWith count: Int) -> Int { count }

  public func changes(
    afterStep step: Int, of layers: [SparseParameter], learningRate: Double, random: CounterRandom
  ) throws -> [TopologyChange]? { nil }
}

/// Whether connections compete within their layer or over the whole network.
public enum SelectionScope: String, Sendable, CaseIterable, Codable {
  /// Within each layer, whose number of connections stays.
  case local
  /// Over all layers together.
  case global
}
