import EspalierCore

/// The exchange by magnitude within layers or over the network: as many of the smallest weights go as candidates come.
///
/// Within a layer, or over the whole network with at least one connection left in every layer.
struct PruneGrow {
  let schedule: UpdateSchedule
  let scope: SelectionScope

  /// - Parameters:
  ///   - chooseGrown: the positions, ascending, of the k candidates of each of some layers to grow.
  func changes(
    for layers: [LayerCandidates], step: Int,
    chooseGrown: (_ layers: ArraySlice<LayerCandidates>, _ k: Int) -> [Selected]
  ) -> [TopologyChange] {
    forEachGroup(of: layers) { exchange($0, step: step, chooseGrown: chooseGrown) }
  }

  /// The changes that `body` makes for each layer alone, or for all together.
  func forEachGroup(
    of layers: [LayerCandidates], _ body: (ArraySlice<LayerCandidates>) throws -> [TopologyChange]
  ) rethrows -> [TopologyChange] {
    switch scope {
    case .local: try layers.indices.flatMap { try body(layers[$0...$0]) }
    case .global: try body(layers[...])
    }
  }

  /// Exchanges k = min(ceil(alpha_t * active), candidates) connections among `layers`.
  private func exchange(
    _ layers: ArraySlice<LayerCandidates>, step: Int,
    chooseGrown: (ArraySlice<LayerCandidates>, Int) -> [Selected]
  ) -> [TopologyChange] {
    let active = layers.reduce(0) { $0 + $1.weights.count }
    let offered = layers.reduce(0) { $0 + $1.connections.count }
    let pruned = prune(layers, k: min(schedule.count(of: active, at: step), offered))
    let grown = chooseGrown(layers, pruned.reduce(0) { $0 + $1.count })
    return zip(layers, zip(pruned, grown)).map { $0.change(pruned: $1.0, grown: $1.1) }
  }

  /// The k smallest weights of all layers. In global scope a layer that would lose every connection keeps its largest (then fewer
  /// than k go); in local scope as many come as go.
  func prune(_ layers: ArraySlice<LayerCandidates>, k: Int) -> [Selected] {
    guard let meter = layers.first?.weights.matrix.meter else { return [] }
    let selected = MagnitudeSelection(meter: meter).select(k, .smallest, of: layers.map(\.weights.weightScores))
    return zip(layers, selected).map { layer, selected in
      guard scope == .global, selected.count == layer.weights.count, selected.count > 0 else { return selected }
      for i in layer.weights.largestWeight..<(selected.count - 1) { selected.indices.pointer[i] = UInt32(i + 1) }
      return Selected(indices: selected.indices, count: selected.count - 1)
    }
  }
}
