import EspalierCore

/// Sparse evolutionary training (Mocanu et al., Nat. Commun. 9, 2018): the smallest weights go, as many uniformly random inactive
/// connections come.
///
/// By default as in RigL's comparison (Evci et al. 2020): smallest magnitudes, new weights zero, under a schedule that all methods share.
/// `Rule.original` is the paper's own exchange. Time and memory O(n + nnz). Departure: RigL's code adds noise of 1e-5 to the magnitudes; here ties
/// go to the first.
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

  /// Offers as many random connections as the layer could have to grow: no gradient is looked at.
  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let weights = layer.weights
    let matrix = weights.matrix
    let count = min(schedule.count(of: matrix.count, at: step), weights.inactive)
    let connections = matrix.structure.randomInactive(
      count: count, stream: random.stream(.growth, layer: weights.index, step: step), site: matrix.site,
      meter: matrix.meter)
    return LayerCandidates(weights: weights, connections: connections, gradients: nil)
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    switch rule {
    case .magnitude:
      PruneGrow(schedule: schedule, scope: scope).changes(for: layers, step: step) { layers, k in
        Self.random(k, of: layers, step: step, random: random)
      }
    case .original: layers.map { exchangeBySign(in: $0.weights, step: step, random: random) }
    }
  }

  /// k of the offered connections of all layers, by lot.
  private static func random(
    _ k: Int, of layers: ArraySlice<LayerCandidates>, step: Int, random: CounterRandom
  ) -> [Selected] {
    guard let meter = layers.first?.weights.matrix.meter else { return [] }
    let lots = layers.map { layer in
      let lots = MeteredBuffer<Float>(
        count: layer.connections.count, tag: .selection, site: layer.weights.matrix.site, meter: meter)
      let stream = random.stream(.growth, layer: layer.weights.index, step: step)
      stream.fill(lots.buffer, from: 1 << 62, in: 0..<1)  // the first numbers drew the connections
      return lots
    }
    let scores = zip(layers, lots).map { layer, lots in
      SelectionScores(UnsafeBufferPointer(lots.buffer), site: layer.weights.matrix.site)
    }
    // The scores point into the lots.
    return withExtendedLifetime(lots) { MagnitudeSelection(meter: meter).select(k, .largest, of: scores) }
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
