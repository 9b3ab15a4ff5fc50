import EspalierCore

/// Guided stochastic exploration with the uniform guide (Heddes, Srinivasa, Givargis, Nicolau, arXiv 2401.06898, Algorithm 2).
///
/// Every T steps each layer draws ceil(gamma * nnz) pairs (output, input) uniformly, drops duplicates and active connections, and computes the
/// gradient at what is left, S. The k = min(ceil(alpha_t * nnz), |S|) candidates with the largest gradient grow; as many of the smallest
/// weights are pruned. Time and memory are O(n + nnz) for a layer of width n.
public struct GSE: TopologyUpdater {
  public let schedule: UpdateSchedule
  /// Draws a connection.
  public let gamma: Double
  public let scope: SelectionScope

  /// - Throws: `EspalierError.usage` for a gamma outside of 0 < gamma <= 1000.
  public init(schedule: UpdateSchedule, gamma: Double = 1, scope: SelectionScope = .local) throws {
    guard gamma > 0, gamma <= 1000 else {
      throw EspalierError.usage("gamma: \(gamma) is out of range; expected above 0 and at most 1000")
    }
    self.schedule = schedule
    self.gamma = gamma
    self.scope = scope
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let weights = layer.weights
    let subset = weights.matrix.structure.randomInactiveSubset(
      draws: Int((gamma * Double(weights.count)).rounded(.up)),
      stream: random.stream(.candidates, layer: weights.index, step: step), site: weights.matrix.site,
      meter: weights.matrix.meter)
    return LayerCandidates(weights: weights, connections: subset, gradients: layer.gradients(at: subset))
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    PruneGrow(schedule: schedule, scope: scope).changes(for: layers, step: step) { layers, k in
      guard let meter = layers.first?.weights.matrix.meter else { return [] }
      let scores = layers.map { layer in
        let gradients = layer.gradients.map {
          UnsafeBufferPointer(start: UnsafePointer($0.pointer), count: layer.connections.count)
        }
        return SelectionScores(gradients ?? UnsafeBufferPointer(start: nil, count: 0), site: layer.weights.matrix.site)
      }
      return MagnitudeSelection(meter: meter).select(k, .largest, of: scores)
    }
  }
}
