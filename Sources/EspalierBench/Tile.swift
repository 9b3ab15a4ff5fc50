import Espalier

/// Parts of a layer that are small enough to be measured, one for the products with all weights and one for those with the connections
/// alone, and what they stand for.
package struct Tile {
  package let whole: LayerCase
  /// At the whole's density: what the dense products are measured on.
  package let dense: LayerCase
  /// The same, but for wide layers with few connections a unit.
  package let sparse: LayerCase
  /// Whether the whole layer would use memory in much the same way.
  package let isFaithful: Bool

  /// Operations of one dense product of a tile.
  private static let flops = 0.6e9
  /// Weights of a tile's dense form.
  private static let weights = 1 << 22
  /// Connections a unit of the longer side, below which what a unit costs is no longer small beside what its connections cost. At equal
  /// density a tile has the fewer the smaller it is, and would be measured empty.
  private static let fewConnections = 16.0
  /// Activations of the longer side, and connections, of a tile that keeps the connections a unit.
  private static let activations = 1 << 24, connections = 1 << 20

  package init(_ whole: LayerCase) {
    self.whole = whole
    var (outputs, inputs, height, width) = (whole.outputs, whole.inputs, whole.height, whole.width)
    var batch = min(whole.batch, whole.geometry == nil ? 128 : 32)
    var weights: Int { outputs * inputs * whole.taps }
    var flops: Double { 2 * Double(weights) * Double(height * width) * Double(batch) }
    while flops > Self.flops, max(height, width) > 8 {
      if height >= width { height = (height + 1) / 2 } else { width = (width + 1) / 2 }
    }
    if whole.geometry == nil, flops > Self.flops { batch = min(batch, 32) }
    while weights > Self.weights || flops > 2 * Self.flops, max(outputs, inputs) > 64 {
      if outputs >= inputs { outputs = (outputs + 1) / 2 } else { inputs = (inputs + 1) / 2 }
    }
    let part = Double(weights) / Double(whole.size)
    let connections = Int((Double(whole.connections) * part).rounded())
    dense = LayerCase(
      name: whole.name, outputs: outputs, inputs: inputs, geometry: whole.geometry, height: height, width: width,
      batch: batch, connections: min(weights, max(1, connections)))
    let perUnit = Double(connections) / Double(max(outputs, inputs))
    if whole.geometry == nil, part < 1, perUnit < Self.fewConnections {
      sparse = Self.thin(whole)
      isFaithful = true
    } else {
      sparse = dense
      isFaithful = connections >= 64 && inputs * 4 >= whole.inputs || part == 1
    }
  }

  /// As many units of the longer side as there is time and memory for, with as many connections each as the whole has. A shorter side that
  /// has no more units keeps them all.
  private static func thin(_ whole: LayerCase) -> LayerCase {
    let batch = min(whole.batch, 128)
    let longer = max(whole.outputs, whole.inputs)
    let perUnit = Double(whole.connections) / Double(longer)
    let affordable = Double(Self.connections) / max(perUnit, 1)
    let units = min(longer, Self.activations / batch, max(64, Int(affordable)))
    let (outputs, inputs) = (min(whole.outputs, units), min(whole.inputs, units))
    let connections = Int((perUnit * Double(units)).rounded())
    return LayerCase(
      name: whole.name, outputs: outputs, inputs: inputs, height: whole.height, width: whole.width, batch: batch,
      connections: min(outputs * inputs, max(1, connections)))
  }

  /// A second number of connections to measure the sparse tile with, so that what they cost and what its units cost can be told apart:
  /// about where sparse and dense meet; of a tile without dense form, a quarter.
  package var secondConnections: Int {
    if sparse != dense { return sparse.connections / 4 }
    return sparse.connections * 4 <= sparse.size ? sparse.size / 2 : sparse.connections / 8
  }

  /// The whole's sparse seconds as fixed + slope * connections, from the tile's with its own and with the second number of connections.
  ///
  /// Both grow with samples and positions. Beside that the fixed part grows as connections do: with the weights at equal density, with the
  /// longer side at equal connections a unit.
  package func sparseCost(own: Double, second: Double) -> (fixed: Double, perConnection: Double) {
    let slope = max(0, (second - own) / Double(secondConnections - sparse.connections))
    let volume = volume(of: sparse)
    let total = own * volume * Double(whole.connections) / Double(sparse.connections)
    let fixed = max(0, total - slope * volume * Double(whole.connections))
    return (fixed, (total - fixed) / Double(whole.connections))
  }

  /// The whole's dense seconds from the tile's.
  package func denseCost(_ seconds: Double) -> Double {
    seconds * volume(of: dense) * Double(whole.size) / Double(dense.size)
  }

  /// What the whole takes in proportion to a part of it, by samples and positions.
  private func volume(of part: LayerCase) -> Double {
    func padded(_ layer: LayerCase) -> Int { ActivationShape(samples: layer.batch, channels: 1).count }
    return Double(padded(whole) * whole.positions) / Double(padded(part) * part.positions)
  }
}

extension LayerCase {
  /// The same layer with another number of connections.
  func with(connections: Int) -> LayerCase {
    LayerCase(
      name: name, outputs: outputs, inputs: inputs, geometry: geometry, height: height, width: width, batch: batch,
      connections: connections)
  }
}
