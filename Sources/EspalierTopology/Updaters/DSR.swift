import EspalierCore

/// Dynamic sparse reparameterization (Mostafa & Wang, arXiv 1902.05967, algorithm 1): every weight below one threshold goes, over all layers; the
/// layers grow as many uniformly random connections in proportion to what each has left. The threshold doubles when less than 0.9 of
/// the target went, and halves when more than 1.1 of it did.
///
/// Time and memory O(n + nnz). The schedule's fraction of the connections is the target: 0.1 of them are the published 1 % of all weights
/// at the published sparsity of 90 %. Departures: what a full layer cannot take goes to the others (the authors' code has no cap), and
/// every layer keeps at least its largest weight.
public struct DSR: TopologyUpdater {
  public let schedule: UpdateSchedule
  /// Weights of smaller magnitude go.
  public private(set) var threshold: Double

  /// Starts with the threshold `threshold`.
  public init(schedule: UpdateSchedule, threshold: Double = 1e-3) {
    self.schedule = schedule
    self.threshold = threshold
  }

  public var state: [Double] {
    get { [threshold] }
    set { threshold = newValue.first ?? threshold }
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .none(in: layer.weights)
  }

  public mutating func changes(
    for layers: [LayerCandidates], step: Int, random: CounterRandom
  ) -> [TopologyChange] {
    let weights = layers.map(\.weights)
    let inactive = weights.map(\.inactive)
    let target = schedule.fraction(at: step) * Double(weights.reduce(0) { $0 + $1.count })
    let below = weights.map { layer in
      layer.matrix.withValues { values in
        min(values.count { Double(abs($0)) < threshold }, max(0, values.count - 1))
      }
    }
    // Where nearly everything is active, no more go than could come.
    let pruned = apportion(
      min(below.reduce(0, +), inactive.reduce(0, +)), weights: below.map(Double.init), capacities: below)
    let total = pruned.reduce(0, +)
    let grown = apportion(
      total, weights: zip(weights, pruned).map { Double($0.count - $1) }, capacities: inactive)
    if Double(below.reduce(0, +)) < 0.9 * target {
      threshold *= 2
    } else if Double(below.reduce(0, +)) > 1.1 * target {
      threshold /= 2
    }
    return weights.indices.map { i in
      weights[i].exchange(
        pruned: weights[i].smallestWeights(pruned[i]), growing: grown[i], step: step, random: random)
    }
  }
}
