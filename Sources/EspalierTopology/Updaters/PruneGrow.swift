import EspalierCore

/// The exchange that GSE and SET share: as many of the smallest weights go as candidates come.
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
    switch scope {
    case .local: layers.indices.flatMap { exchange(layers[$0...$0], step: step, chooseGrown: chooseGrown) }
    case .global: exchange(layers[...], step: step, chooseGrown: chooseGrown)
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
    return zip(layers, zip(pruned, grown)).map { layer, selected in
      let (pruned, grown) = selected
      return change(of: layer, pruned: pruned, grown: grown)
    }
  }

  /// The k smallest weights of all layers. In global scope a layer that would lose every connection keeps its largest (then fewer
  /// than k go); in local scope as many come as go.
  private func prune(
    _ layers: ArraySlice<LayerCandidates>, k: Int
  ) -> [Selected] {
    guard let meter = layers.first?.weights.matrix.meter else { return [] }
    let scores = layers.map { layer in
      layer.weights.matrix.withValues { SelectionScores($0, site: layer.weights.matrix.site) }
    }
    let selected = MagnitudeSelection(meter: meter).select(k, .smallest, of: scores)
    return zip(layers, selected).map { layer, selected in
      guard scope == .global, selected.count == layer.weights.count, selected.count > 0 else { return selected }
      let keep = layer.weights.matrix.withValues { values in
        values.indices.max { abs(values[$0]) < abs(values[$1]) } ?? 0
      }
      for i in keep..<(selected.count - 1) { selected.indices.pointer[i] = UInt32(i + 1) }
      return Selected(indices: selected.indices, count: selected.count - 1)
    }
  }

  private func change(
    of layer: LayerCandidates, pruned: Selected,
    grown: Selected
  ) -> TopologyChange {
    let matrix = layer.weights.matrix
    let meter = matrix.meter
    let connections = layer.connections.subset(positions: grown.buffer, site: matrix.site, meter: meter)
    let gradients = layer.gradients.map { all in
      let chosen = MeteredBuffer<Float>(count: grown.count, tag: .selection, site: matrix.site, meter: meter)
      for (i, position) in grown.buffer.enumerated() { chosen.pointer[i] = all.pointer[Int(position)] }
      return chosen
    }
    return TopologyChange(
      pruned: pruned.indices, prunedCount: pruned.count, grown: connections, grownGradients: gradients)
  }
}
