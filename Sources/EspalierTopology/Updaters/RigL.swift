import EspalierCore

/// RigL (Evci, Gale, Menick, Castro, Elsen, arXiv 1911.11134, section 3): the k smallest weights are dropped, the k connections with the largest
/// gradients outside of the kept ones grow. A dropped connection may be among them; then it stays as it was, weight and state.
///
/// Materialises gradients of some 64 rows at a time, never the whole: they stream into a running top-k inside the layer's backward pass. The
/// chosen connections are those of the dense rule. Time: a dense weight gradient, 2 * rows * columns a row of the batch, at updates; memory O(n
/// + nnz). In global scope one drop and one growth over all layers; there a layer offers at most half of what one buffer may
/// hold by the rule that keeps memory sparse, twice its own connections and width, however many the network drops.
///
/// Departures: k is rounded up as in GSE (the authors' code rounds down); new connections come before dropped ones of the same gradient. With
/// `ITOP.schedule` this is ITOP with growth by gradient.
public struct RigL: TopologyUpdater {
  public let schedule: UpdateSchedule
  /// Whether connections compete within their layer or over the network.
  public let scope: SelectionScope

  /// Moves connections by `schedule`.
  public init(schedule: UpdateSchedule, scope: SelectionScope = .local) {
    self.schedule = schedule
    self.scope = scope
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let active = scope == .local ? layer.weights.count : layer.networkConnections
    return .largestGradients(schedule.count(of: active, at: step), in: layer)
  }

  public func changes(
    for layers: [LayerCandidates], step: Int, random: CounterRandom
  ) throws -> [TopologyChange] {
    let exchange = PruneGrow(schedule: schedule, scope: scope)
    return try exchange.forEachGroup(of: layers) { layers in
      let active = layers.reduce(0) { $0 + $1.weights.count }
      let pruned = exchange.prune(layers, k: schedule.count(of: active, at: step))
      return try regrow(pruned.reduce(0) { $0 + $1.count }, in: layers, pruned: pruned)
    }
  }
}

extension LayerCandidates {
  /// The k inactive connections of a layer with the largest gradients, by one stream of its whole gradient.
  static func largestGradients(_ k: Int, in layer: some LayerProbe) -> LayerCandidates {
    let topK = StreamedTopK(k, of: layer.weights.matrix)
    layer.forEachGradientTile { topK.add($0) }
    let (connections, gradients) = topK.finish()
    return LayerCandidates(
      weights: layer.weights, connections: connections, gradients: gradients, activeGradients: topK.activeGradients,
      examined: layer.weights.inactive)
  }
}
