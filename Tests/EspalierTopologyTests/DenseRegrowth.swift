import EspalierCore
import EspalierTopology

/// RigL's and GraNet's exchange on dense arrays, by plain sorts.
struct DenseRegrowth {
  private(set) var cells: [[Int]] = []
  /// Connections that were dropped and grew again.
  private(set) var returned = 0

  /// - Parameters:
  ///   - gradients: [rows * columns] of each layer.
  ///   - counts: of a group's active connections, how many go for good, and how many are dropped and as many grown.
  init(
    _ layers: [SparseParameter], _ gradients: [[Float]], scope: SelectionScope,
    counts: (_ active: Int) -> (pruned: Int, moved: Int)
  ) {
    cells = layers.map { $0.matrix.structure.cells }
    switch scope {
    case .local:
      for layer in layers.indices { exchange([layer], layers, gradients, counts) }
    case .global: exchange(Array(layers.indices), layers, gradients, counts)
    }
  }

  private struct Entry {
    let isDropped: Bool
    let layer, cell: Int
    let magnitude: Float
  }

  private mutating func exchange(
    _ group: [Int], _ layers: [SparseParameter], _ gradients: [[Float]], _ counts: (Int) -> (pruned: Int, moved: Int)
  ) {
    let active = group.flatMap { layer in
      layers[layer].weightsByCell.map {
        Entry(isDropped: true, layer: layer, cell: $0.key, magnitude: $0.value.magnitude)
      }
    }
    .sorted { ($0.magnitude, $0.layer, $0.cell) < ($1.magnitude, $1.layer, $1.cell) }
    let (pruned, moved) = counts(active.count)
    var dropped = Array(active.prefix(pruned + moved))
    // A layer that would lose everything keeps its largest weight, the first of equals.
    for layer in group where group.count > 1 {
      guard dropped.count(where: { $0.layer == layer }) == layers[layer].count else { continue }
      let largest = active.last { $0.layer == layer }!.magnitude
      let kept = active.first { $0.layer == layer && $0.magnitude == largest }!.cell
      dropped.removeAll { $0.layer == layer && $0.cell == kept }
    }
    let old = cells
    let pool = group.flatMap { layer in
      gradients[layer].indices.compactMap { cell -> Entry? in
        let isDropped = dropped.contains { $0.layer == layer && $0.cell == cell }
        guard isDropped || !old[layer].contains(cell) else { return nil }
        return Entry(isDropped: isDropped, layer: layer, cell: cell, magnitude: gradients[layer][cell].magnitude)
      }
    }
    let grown = pool.sorted {
      (-$0.magnitude, $0.isDropped ? 1 : 0, $0.layer, $0.cell) < (
        -$1.magnitude, $1.isDropped ? 1 : 0, $1.layer, $1.cell
      )
    }
    .prefix(dropped.count - pruned)
    returned += grown.count { $0.isDropped }
    for layer in group {
      cells[layer] = Set(old[layer]).subtracting(dropped.filter { $0.layer == layer }.map(\.cell))
        .union(grown.filter { $0.layer == layer }.map(\.cell)).sorted()
    }
  }
}
