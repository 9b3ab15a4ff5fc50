import EspalierCore

/// What an updater sees of one sparse layer during the backward pass of an update step, while the layer's input and the gradient of
/// its output are alive.
public protocol LayerProbe {
  /// Structure, weights and name.
  var weights: SparseParameter { get }
  /// The loss's gradient at the listed connections, active or not: one number a connection.
  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float>
}

/// Connections that one layer might grow, and the loss's gradient at each: all that outlives the layer's backward pass.
public struct LayerCandidates {
  public let weights: SparseParameter
  public let connections: SparseStructure
  /// Empty where the updater does not look at gradients.
  public let gradients: MeteredBuffer<Float>?

  public init(weights: SparseParameter, connections: SparseStructure, gradients: MeteredBuffer<Float>?) {
    self.weights = weights
    self.connections = connections
    self.gradients = gradients
  }
}

/// Decides which connections the sparse layers drop and add.
///
/// On an update step `candidates` is called once a layer, inside the backward pass; then `changes` once for all layers, so that a choice
/// over the whole network is possible.
public protocol TopologyUpdater: Sendable {
  /// When connections move.
  var schedule: UpdateSchedule { get }

  /// Looks at one layer and returns what it could grow.
  ///
  /// - Postcondition: the candidates are inactive.
  /// - Complexity: O(n + nnz) for an always-sparse updater.
  func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) throws -> LayerCandidates

  /// Returns one change a layer, in the layers' order; does not change the layers. Pruned and grown counts may differ in a layer.
  ///
  /// - Postcondition: grown connections were inactive and are distinct; the network's number of connections stays the same.
  func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) throws -> [TopologyChange]
}

/// Whether connections compete within their layer or over the whole network.
public enum SelectionScope: String, Sendable, CaseIterable, Codable {
  case local, global
}
