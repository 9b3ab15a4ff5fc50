import EspalierCore

/// Sparse evolutionary training (Mocanu et al., Nat. Commun. 9, 2018): the smallest weights go, as many uniformly random inactive
/// connections come.
///
/// By default as in RigL's comparison (Evci et al. 2020): smallest magnitudes, new weights zero, under a schedule that all methods share.
/// `Rule.original` is the paper's own exchange. In global scope layers grow in proportion to their inactive connections. Time and memory O(n + nnz).
/// Departures: RigL's code adds noise of 1e-5 to the magnitudes; here ties go to the first. In update mode `replace` an update takes the place
/// of the optimizer's step, as GSE's and RigL's do, although it looks at no gradient; RigL's comparison does both (`add`).
public struct SET: TopologyUpdater {
  /// Which connections go, and what new ones start with.
  public enum Rule: Sendable {
    /// The smallest magnitudes; new weights are zero.
    case magnitude
    /// A fraction of the positive weights and the same fraction of the negative ones, those nearest zero; new weights are normal with
    /// deviation 0.1 and no momentum. In each layer.
    case original
  }

  public let schedule: UpdateSchedule
  /// Whether connections compete within their layer or over the network.
  public let scope: SelectionScope
  /// Which connections go, and what new ones start with.
  public let rule: Rule

  /// - Throws: `EspalierError.usage` for the original rule in global scope.
  public init(schedule: UpdateSchedule, scope: SelectionScope = .local, rule: Rule) throws {
    guard rule == .magnitude || scope == .local else {
      throw EspalierError.usage("scope: global is not what the original SET does; expected local")
    }
    self.schedule = schedule
    self.scope = scope
    self.rule = rule
  }

  /// Smallest magnitudes go, new weights are zero.
  public init(schedule: UpdateSchedule, scope: SelectionScope = .local) {
    self.schedule = schedule
    self.scope = scope
    rule = .magnitude
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .none(in: layer.weights)
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    switch rule {
    case .magnitude:
      let exchange = PruneGrow(schedule: schedule, scope: scope)
      return exchange.forEachGroup(of: layers) { layers in
        let active = layers.reduce(0) { $0 + $1.weights.count }
        let inactive = layers.map(\.weights.inactive)
        let pruned = exchange.prune(layers, k: min(schedule.count(of: active, at: step), inactive.reduce(0, +)))
        // Every inactive connection of the network is equally likely to grow.
        let grown = apportion(
          pruned.reduce(0) { $0 + $1.count }, weights: inactive.map(Double.init), capacities: inactive)
        return zip(layers, zip(pruned, grown)).map { layer, change in
          layer.weights.exchange(pruned: change.0, growing: change.1, step: step, random: random)
        }
      }
    case .original: return layers.map { exchangeBySign(in: $0.weights, step: step, random: random) }
    }
  }

  /// The original rule; a stored zero counts as positive.
  private func exchangeBySign(in weights: SparseParameter, step: Int, random: CounterRandom) -> TopologyChange {
    let (site, meter) = (weights.matrix.site, weights.matrix.meter)
    let fraction = schedule.fraction(at: step)
    let halves = [false, true].map { isNegative in
      Self.nearestZero(in: weights, isNegative: isNegative, fraction: fraction)
    }
    let count = min(halves[0].count + halves[1].count, weights.inactive)
    let pruned = MeteredBuffer<UInt32>(
      count: halves[0].count + halves[1].count, tag: .selection, site: site, meter: meter)
    var places = [0, 0]
    for i in 0..<pruned.count {
      let isFirst =
        places[1] == halves[1].count
        || places[0] < halves[0].count && halves[0].buffer[places[0]] < halves[1].buffer[places[1]]
      let half = isFirst ? 0 : 1
      pruned.pointer[i] = halves[half].buffer[places[half]]
      places[half] += 1
    }
    let change = weights.exchange(
      pruned: Selected(indices: pruned, count: count), growing: count, step: step, random: random)
    let values = MeteredBuffer<Float>(count: count, tag: .values, site: site, meter: meter)
    random.stream(.noise, layer: weights.index, step: step).fillNormal(values.buffer, deviation: 0.1)
    return TopologyChange(
      pruned: change.pruned, prunedCount: change.prunedCount, grown: change.grown, grownValues: values)
  }

  /// The fraction, rounded down, of the weights of one sign that are nearest zero.
  private static func nearestZero(in weights: SparseParameter, isNegative: Bool, fraction: Double) -> Selected {
    let (site, meter) = (weights.matrix.site, weights.matrix.meter)
    let scores = MeteredBuffer<Float>(count: weights.count, tag: .selection, site: site, meter: meter)
    let count = weights.matrix.withValues { values in
      for (i, value) in values.enumerated() { scores.pointer[i] = (value < 0) == isNegative ? value : .infinity }
      return values.count { ($0 < 0) == isNegative }
    }
    return withExtendedLifetime(scores) {
      MagnitudeSelection(meter: meter).select(
        Int(fraction * Double(count)), .smallest, of: [SelectionScores(scores.prefix(scores.count), site: site)])[0]
    }
  }
}

/// In-time over-parameterisation (Liu, Yin, Mocanu, Pechenizkiy, arXiv 2102.02887, sections 3 and 4): SET or RigL under a schedule of longer intervals and
/// larger exchanges. The paper updates every 1,500 steps with random growth and every 4,000 with growth by gradient, over the whole of
/// training; interval, end and first fraction are the caller's.
///
/// Memory O(n + nnz); random growth takes time O(n + nnz), growth by gradient the dense operations of RigL. Departures of the authors' code
/// that are not followed: its threshold prunes ties beyond the count, and its random growth lets the number of connections drift.
public enum ITOP {
  /// The fraction of connections that an update moves falls along a cosine from `fraction`, half in the paper, to one in two hundred
  /// at `end`.
  public static func schedule(interval: Int, end: Int, fraction: Double = 0.5) -> UpdateSchedule {
    UpdateSchedule(interval: interval, end: end, fraction: fraction, finalFraction: min(0.005, fraction))
  }
}
