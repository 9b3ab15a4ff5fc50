import EspalierCore

/// Sparse evolutionary training (Mocanu et al., Nat. Commun. 9, 2018) under GSE's schedule: the smallest weights go, as many uniformly
/// random inactive connections come, with weight zero as in RigL's comparison (Evci et al. 2020).
public struct SET: TopologyUpdater {
  public let schedule: UpdateSchedule
  public let scope: SelectionScope

  public init(schedule: UpdateSchedule, scope: SelectionScope = .local) {
    self.schedule = schedule
    self.scope = scope
  }

  /// Offers as many random connections as the layer could have to grow: no gradient is looked at.
  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let weights = layer.weights
    let matrix = weights.matrix
    let free = matrix.rows * matrix.columns - matrix.count
    let count = min(schedule.count(of: matrix.count, at: step), free)
    let connections = matrix.structure.randomInactive(
      count: count, stream: random.stream(.growth, layer: weights.index, step: step), site: matrix.site,
      meter: matrix.meter)
    return LayerCandidates(weights: weights, connections: connections, gradients: nil)
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    PruneGrow(schedule: schedule, scope: scope).changes(for: layers, step: step) { layers, k in
      Self.random(k, of: layers, step: step, random: random)
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
}
