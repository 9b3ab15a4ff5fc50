import EspalierCore

/// Memory-economic sparse training with elastic mutation (Yuan et al., arXiv 2110.14032, section 3): each layer prunes the connections
/// of the least importance |w| + lambda |gradient| and grows as many uniformly random ones, with weight zero.
///
/// Time and memory O(n + nnz). Departures: the paper's mutation shrinks in stages, here along the schedule's cosine; its soft memory bound,
/// which trains surplus connections before it prunes, is left out, so that the budget holds at every step. The authors' code has
/// lambda = 0 by default, which is SET; the paper's rule has a gradient's term.
public struct MEST: TopologyUpdater {
  public let schedule: UpdateSchedule
  /// How much a gradient counts beside a weight.
  public let lambda: Float

  /// Moves connections by `schedule`.
  public init(schedule: UpdateSchedule, lambda: Float = 1) {
    self.schedule = schedule
    self.lambda = lambda
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .none(in: layer.weights, activeGradients: layer.gradients(at: layer.weights.matrix.structure))
  }

  public func changes(
    for layers: [LayerCandidates], step: Int, random: CounterRandom
  ) throws -> [TopologyChange] {
    try layers.map { layer in
      let weights = layer.weights
      let (site, meter) = (weights.matrix.site, weights.matrix.meter)
      guard let gradients = layer.activeGradients else {
        throw EspalierError.invariant("\(weights.layerName): MEST without the active connections' gradient")
      }
      let importance = MeteredBuffer<Float>(count: weights.count, tag: .selection, site: site, meter: meter)
      weights.matrix.withValues { values in
        for i in values.indices { importance.pointer[i] = abs(values[i]) + lambda * abs(gradients.pointer[i]) }
      }
      let count = min(schedule.count(of: weights.count, at: step), weights.inactive)
      let pruned = withExtendedLifetime(importance) {
        MagnitudeSelection(meter: meter).select(
          count, .smallest, of: [SelectionScores(importance.prefix(weights.count), site: site)])[0]
      }
      return weights.exchange(pruned: pruned, growing: count, step: step, random: random)
    }
  }
}
