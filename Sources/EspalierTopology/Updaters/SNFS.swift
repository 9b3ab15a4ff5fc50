import EspalierCore

/// Sparse networks from scratch (Dettmers & Zettlemoyer, arXiv 1907.04840, section 3) over sampled candidates: each layer drops a fraction of
/// its smallest weights; what was dropped in all is regrown in proportion to the layers' mean momentum magnitude, by the largest gradients.
///
/// The paper grows by the momentum of all weights, which is dense by nature. Here a layer looks at ceil(gamma * nnz) random inactive connections (as GSE
/// does), and this batch's gradient stands for the momentum that an inactive connection does not have. Time and memory O(n + nnz). A layer
/// grows at most to 0.99 of its size and by at most its candidates; what it cannot take goes to the others, so that the number of connections
/// stays (the authors' code lets it drift).
public struct SNFS: TopologyUpdater {
  public let schedule: UpdateSchedule
  /// Draws a connection.
  public let gamma: Double

  /// - Throws: `EspalierError.usage` for a gamma outside of 0 < gamma <= 1000.
  public init(schedule: UpdateSchedule, gamma: Double = 1) throws {
    self.schedule = schedule
    self.gamma = try GSE(schedule: schedule, gamma: gamma).gamma
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let weights = layer.weights
    let matrix = weights.matrix
    let subset = matrix.structure.randomInactiveSubset(
      draws: Int((gamma * Double(weights.count)).rounded(.up)),
      stream: random.stream(.candidates, layer: weights.index, step: step), site: matrix.site, meter: matrix.meter)
    return LayerCandidates(weights: weights, connections: subset, gradients: layer.gradients(at: subset))
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    let dropped = layers.map { min(schedule.count(of: $0.weights.count, at: step), max(0, $0.weights.count - 1)) }
    let room = zip(layers, dropped).map { layer, dropped in
      let size = Double(layer.weights.matrix.rows * layer.weights.matrix.columns)
      return min(layer.connections.count, max(0, Int(0.99 * size) - (layer.weights.count - dropped)))
    }
    let total = min(dropped.reduce(0, +), room.reduce(0, +))
    let pruned = apportion(total, weights: dropped.map(Double.init), capacities: dropped)
    let grown = apportion(total, weights: layers.map { $0.weights.meanMomentum }, capacities: room)
    return layers.indices.map { i in
      let selection = MagnitudeSelection(meter: layers[i].weights.matrix.meter)
      return layers[i].change(
        pruned: layers[i].weights.smallestWeights(pruned[i]),
        grown: selection.select(grown[i], .largest, of: [layers[i].gradientScores])[0])
    }
  }
}

extension SparseParameter {
  /// Mean magnitude of the active connections' momentum, or of Adam's direction; 0 before the optimizer's first step.
  var meanMomentum: Double {
    guard !optimizerState.isEmpty, count > 0 else { return 0 }
    let momentum = momentum
    return (0..<count).reduce(0) { $0 + Double(abs(momentum($1))) } / Double(count)
  }
}

extension Parameter {
  /// The momentum of number i: m / (sqrt(v) + 1e-8) where the optimizer keeps a second moment, as AdamW does. Only after its first step.
  package var momentum: (Int) -> Float {
    let first = optimizerState[0].pointer
    guard optimizerState.count == 2 else { return { first[$0] } }
    let second = optimizerState[1].pointer
    return { first[$0] / (max(0, second[$0]).squareRoot() + 1e-8) }
  }
}
