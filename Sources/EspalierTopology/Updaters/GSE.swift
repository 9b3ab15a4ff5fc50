import EspalierCore

/// Guided stochastic exploration (Heddes, Srinivasa, Givargis, Nicolau, arXiv 2401.06898, Algorithm 2).
///
/// Every T steps each layer draws ceil(gamma * nnz) pairs (output, input) from its guide, drops duplicates and active connections, and
/// computes the gradient at what is left, S. The k = min(ceil(alpha_t * nnz), |S|) candidates with the largest gradient grow; as many of the
/// smallest weights are pruned. Time and memory are O(n + nnz) for a layer of width n.
///
/// The authors' code draws floor(gamma * nnz) pairs, selects over all layers by default, and looks at every connection of layers that are
/// half dense or more; here the paper's rule is the default, and `scope` and `examinesDenseLayersWhole` are for the code's.
public struct GSE: TopologyUpdater {
  /// How many candidates a layer examines.
  public enum SubsetSize: Sendable {
    /// Those among ceil(gamma * nnz) drawn pairs that are distinct and inactive (Algorithm 2).
    case drawn
    /// ceil(gamma * nnz) distinct inactive ones, or all of them; fewer where a guide's distribution is so skewed that 64 rounds of
    /// draws do not find as many.
    case exact
  }

  public let schedule: UpdateSchedule
  /// How candidates are drawn.
  public let guide: Guide
  /// Draws a connection.
  public let gamma: Double
  /// Whether connections compete within their layer or over the network.
  public let scope: SelectionScope
  /// How many candidates a layer examines.
  public let subsetSize: SubsetSize
  /// Whether a layer with at least half of its connections examines all others.
  public let examinesDenseLayersWhole: Bool

  /// - Throws: `EspalierError.usage` for a gamma outside of 0 < gamma <= 1000.
  public init(
    schedule: UpdateSchedule, guide: Guide = .uniform, gamma: Double = 1, scope: SelectionScope = .local,
    subsetSize: SubsetSize = .drawn, examinesDenseLayersWhole: Bool = false
  ) throws {
    guard gamma > 0, gamma <= 1000 else {
      throw EspalierError.usage("gamma: \(gamma) is out of range; expected above 0 and at most 1000")
    }
    self.schedule = schedule
    self.guide = guide
    self.gamma = gamma
    self.scope = scope
    self.subsetSize = subsetSize
    self.examinesDenseLayersWhole = examinesDenseLayersWhole
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let subset = subset(in: layer, step: step, random: random)
    return LayerCandidates(weights: layer.weights, connections: subset, gradients: layer.gradients(at: subset))
  }

  private func subset(in layer: some LayerProbe, step: Int, random: CounterRandom) -> SparseStructure {
    let matrix = layer.weights.matrix
    let draws = Int((gamma * Double(matrix.count)).rounded(.up))
    let stream = random.stream(.candidates, layer: layer.weights.index, step: step)
    if examinesDenseLayersWhole, matrix.count >= layer.weights.inactive {
      return matrix.structure.randomInactive(
        count: layer.weights.inactive, stream: stream, site: matrix.site, meter: matrix.meter)
    }
    let distribution = guide.distribution(in: layer, step: step, random: random)
    switch subsetSize {
    case .drawn:
      return matrix.structure.randomInactiveSubset(
        draws: draws, from: distribution, stream: stream, site: matrix.site, meter: matrix.meter)
    case .exact:
      let count = min(draws, matrix.rows * matrix.columns - matrix.count)
      guard guide != .uniform else {
        return matrix.structure.randomInactive(
          count: count, stream: stream, site: matrix.site, meter: matrix.meter)
      }
      return matrix.structure.randomInactive(
        exactly: count, from: distribution, stream: stream, site: matrix.site, meter: matrix.meter)
    }
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    PruneGrow(schedule: schedule, scope: scope).changes(for: layers, step: step) { layers, k in
      guard let meter = layers.first?.weights.matrix.meter else { return [] }
      return MagnitudeSelection(meter: meter).select(k, .largest, of: layers.map(\.gradientScores))
    }
  }
}
