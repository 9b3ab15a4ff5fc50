import EspalierCore

// What updaters choose with: the smallest weights, the largest gradients, and the changes that follow.

extension LayerCandidates {
  /// The candidates' gradients, or the sums that stand for them, to be selected from while `self` lives.
  var gradientScores: SelectionScores {
    SelectionScores((scores ?? gradients).map { $0.prefix(connections.count) } ?? .empty, site: weights.matrix.site)
  }

  /// The change that prunes the connections at `pruned` and grows the candidates at `grown`, with their gradients.
  public func change(pruned: Selected, grown: Selected) -> TopologyChange {
    let (site, meter) = (weights.matrix.site, weights.matrix.meter)
    let connections = connections.subset(positions: grown.buffer, site: site, meter: meter)
    return TopologyChange(
      pruned: pruned.indices, prunedCount: pruned.count, grown: connections,
      grownGradients: gradients?.gathered(grown, site: site, meter: meter))
  }
}

extension SparseParameter {
  /// The weights, to be selected from while they stay in place.
  var weightScores: SelectionScores { matrix.withValues { SelectionScores($0, site: matrix.site) } }

  /// Positions of the k smallest weights by magnitude; of equal ones the first.
  public func smallestWeights(_ k: Int) -> Selected {
    MagnitudeSelection(meter: matrix.meter).select(k, .smallest, of: [weightScores])[0]
  }

  /// The position of the largest weight, the first of equals.
  var largestWeight: Int {
    matrix.withValues { values in values.indices.max { abs(values[$0]) < abs(values[$1]) } ?? 0 }
  }

  /// A change that prunes the connections at `pruned` and grows `count` uniformly random inactive ones.
  public func exchange(pruned: Selected, growing count: Int, step: Int, random: CounterRandom) -> TopologyChange {
    let grown = matrix.structure.randomInactive(
      count: count, stream: random.stream(.growth, layer: index, step: step),
      site: matrix.site.with(connections: max(self.count, self.count - pruned.count + count)), meter: matrix.meter)
    return TopologyChange(pruned: pruned.indices, prunedCount: pruned.count, grown: grown)
  }

  /// Connections that could be grown.
  public var inactive: Int { matrix.rows * matrix.columns - count }
}

extension MeteredBuffer<Float> {
  /// The numbers at the selected positions.
  func gathered(_ selected: Selected, site: WeightSite, meter: AllocationMeter) -> MeteredBuffer<Float> {
    let chosen = MeteredBuffer(count: selected.count, tag: .selection, site: site, meter: meter)
    for (i, position) in selected.buffer.enumerated() { chosen.pointer[i] = pointer[Int(position)] }
    return chosen
  }

  /// The first `count` numbers; valid while the buffer lives.
  func prefix(_ count: Int) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(start: UnsafePointer(pointer), count: count)
  }
}

extension UnsafeBufferPointer<Float> {
  static var empty: UnsafeBufferPointer<Float> { UnsafeBufferPointer(start: nil, count: 0) }
}

extension Selected {
  /// Those whose place in `self` is not in `places`.
  func removing(_ places: Selected, site: WeightSite, meter: AllocationMeter) -> Selected {
    let kept = MeteredBuffer<UInt32>(count: count - places.count, tag: .selection, site: site, meter: meter)
    var next = 0
    for place in 0..<count {
      if next < places.count, Int(places.indices.pointer[next]) == place {
        next += 1
      } else {
        kept.pointer[place - next] = indices.pointer[place]
      }
    }
    return Selected(indices: kept, count: kept.count)
  }
}

/// Regrowth by gradient as in RigL (Evci et al. 2020): the connections just pruned compete with the candidates, and one that wins stays as it
/// was, with weight and optimizer state.
///
/// - Parameters:
///   - count: how many to grow over all `layers`; at most candidates and pruned together.
///   - pruned: of each layer; the gradient at the active connections is known.
/// - Returns: one change a layer. Of equal gradients candidates come before pruned connections, then the order is that of (layer,
///   row, column).
func regrow(
  _ count: Int, in layers: ArraySlice<LayerCandidates>, pruned: [Selected]
) throws -> [TopologyChange] {
  guard let meter = layers.first?.weights.matrix.meter else { return [] }
  let lost = try zip(layers, pruned).map { layer, pruned in
    guard let gradients = layer.activeGradients else {
      throw EspalierError.invariant("\(layer.weights.layerName): regrowth without the active connections' gradient")
    }
    return gradients.gathered(pruned, site: layer.weights.matrix.site, meter: meter)
  }
  let scores =
    layers.map(\.gradientScores)
    + zip(layers, lost).map { SelectionScores($1.prefix($1.count), site: $0.weights.matrix.site) }
  let chosen = withExtendedLifetime((lost, Array(layers))) {
    MagnitudeSelection(meter: meter).select(count, .largest, of: scores)
  }
  return zip(layers, pruned).enumerated().map { i, pair in
    let (layer, pruned) = pair
    let back = chosen[layers.count + i]
    return layer.change(
      pruned: pruned.removing(back, site: layer.weights.matrix.site, meter: meter), grown: chosen[i])
  }
}

/// Integers in proportion to `weights`, each at most its capacity, that add up to `total` exactly, or to all capacities where these are less.
///
/// What an entry cannot take goes to the others; fractions are settled by largest remainder, ties to the first. Entries of weight
/// zero get something only where nothing else has room.
package func apportion(_ total: Int, weights: [Double], capacities: [Int]) -> [Int] {
  var result = [Int](repeating: 0, count: weights.count)
  var left = min(total, capacities.reduce(0, +))
  while left > 0 {
    let open = weights.indices.filter { result[$0] < capacities[$0] }
    let isWeighted = open.contains { weights[$0] > 0 && weights[$0].isFinite }
    let wishes = open.map { isWeighted ? weights[$0].isFinite ? max(0, weights[$0]) : 0 : 1 }
    let sum = wishes.reduce(0, +)
    let shares = wishes.map { Double(left) * ($0 / sum) }
    let taken = zip(open, shares).map { min(capacities[$0] - result[$0], Int($1)) }
    for (i, count) in zip(open, taken) { result[i] += count }
    let given = taken.reduce(0, +)
    left -= given
    guard given == 0 || !zip(open, shares).contains(where: { result[$0] == capacities[$0] && $1 > 0 }) else { continue }
    let order = zip(open, shares).filter { result[$0.0] < capacities[$0.0] && (!isWeighted || $0.1 > 0) }
      .sorted { $0.1 - $0.1.rounded(.down) > $1.1 - $1.1.rounded(.down) }
    for (i, _) in order.prefix(left) { result[i] += 1 }
    left -= min(left, order.count)
  }
  return result
}
