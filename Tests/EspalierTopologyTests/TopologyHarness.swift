import EspalierCore
import EspalierTopology
import TestSupport
import Testing

/// A layer with a dense gradient that a test made up.
struct MadeUpProbe: LayerProbe {
  let weights: SparseParameter
  /// [rows * columns]
  let gradient: [Float]
  var connections: Int?
  /// Activity of inputs and outputs.
  var sums: (inputs: [Double], outputs: [Double])?

  init(weights: SparseParameter, gradient: [Float]) {
    self.weights = weights
    self.gradient = gradient
  }

  var networkConnections: Int { connections ?? weights.count }

  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float> {
    let result = MeteredBuffer<Float>(
      count: connections.count, tag: .candidates, site: weights.matrix.site, meter: weights.matrix.meter)
    for (i, cell) in connections.cells.enumerated() { result[i] = gradient[cell] }
    return result
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity {
    func buffer(_ sums: [Double]) -> MeteredBuffer<Double> {
      let result = MeteredBuffer<Double>(
        count: sums.count, tag: .candidates, site: weights.matrix.site, meter: weights.matrix.meter)
      for (i, sum) in sums.enumerated() { result[i] = sum }
      return result
    }
    return LayerActivity(inputs: buffer(sums?.inputs ?? []), outputs: buffer(sums?.outputs ?? []))
  }

  /// Two rows at a time.
  func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows {
    let (rows, columns) = (weights.matrix.rows, weights.matrix.columns)
    for first in stride(from: 0, to: rows, by: 2) {
      let tile = first..<min(rows, first + 2)
      try gradient.withUnsafeBufferPointer {
        try body(
          GradientTile(
            rows: tile, columns: columns,
            gradients: UnsafeBufferPointer(rebasing: $0[tile.lowerBound * columns..<tile.upperBound * columns])))
      }
    }
  }
}

/// A layer in the backward pass of a tape.
struct SiteProbe: LayerProbe {
  let site: any GradientSite
  let networkConnections: Int
  var weights: SparseParameter { site.parameter }

  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float> {
    let result = MeteredBuffer<Float>(
      count: connections.count, tag: .candidates, site: weights.matrix.site, meter: weights.matrix.meter)
    site.computeGradients(at: connections, into: result)
    return result
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity { site.activity(measure) }

  func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows { try site.forEachGradientTile(body) }
}

extension SparseStructure {
  /// row * columns + column of each connection.
  var cells: [Int] {
    (0..<rows).flatMap { row in positions(ofRow: row).map { row * columns + Int(columnIndices[$0]) } }
  }
}

extension SparseParameter {
  /// Weights by cell.
  var weightsByCell: [Int: Float] {
    matrix.withValues { Dictionary(uniqueKeysWithValues: zip(matrix.structure.cells, $0)) }
  }

  /// Random weights and nonzero momenta.
  func writeNumbers(_ random: inout LayerRandom, integers: Bool = false) {
    let numbers =
      integers ? (0..<count).map { _ in Float(Int.random(in: -3...3, using: &random)) } : random.floats(count)
    withMutableValues { values in
      for i in values.indices { values[i] = numbers[i] }
    }
    if optimizerState.isEmpty { optimizerState = [makeOptimizerState()] }
    for i in 0..<count { optimizerState[0][i] = Float(i + 1) }
  }
}

extension TopologyChange {
  var prunedPositions: [Int] { (0..<prunedCount).map { Int(pruned[$0]) } }
}

/// Some layers with random structures and weights.
func makeLayers(
  _ sizes: [(rows: Int, columns: Int, count: Int)], meter: AllocationMeter, random: inout LayerRandom,
  integers: Bool = false
) throws -> [SparseParameter] {
  try sizes.enumerated().map { index, size in
    let layer = OracleLayer(rows: size.rows, columns: size.columns, count: size.count, using: &random)
    let structure = try SparseStructure(
      rows: size.rows, columns: size.columns, connections: layer.connections, meter: meter)
    let parameter = SparseParameter(
      matrix: SparseMatrix(name: "layer\(index)", structure: structure, meter: meter), index: index)
    parameter.writeNumbers(&random, integers: integers)
    return parameter
  }
}

/// The plain form of the exchange: everything by one sort of whole lists.
struct ReferenceExchange {
  struct Entry {
    let layer, index: Int
    let magnitude: Float
  }

  /// By layer: positions in the layer's structure, and positions among its candidates.
  var pruned: [[Int]]
  var grown: [[Int]]

  /// Swaps the k smallest weights of all layers for the k candidates with the largest gradients; ties go to the first.
  ///
  /// - Parameter keepsOne: whether a layer that would lose everything keeps its largest weight.
  init(weights: [[Float]], gradients: [[Float]], k: Int, keepsOne: Bool) {
    var going = Self.entries(weights).sorted { ($0.magnitude, $0.layer, $0.index) < ($1.magnitude, $1.layer, $1.index) }
      .prefix(k).map { $0 }
    if keepsOne {
      for layer in weights.indices where !weights[layer].isEmpty {
        guard going.count(where: { $0.layer == layer }) == weights[layer].count else { continue }
        let largest = weights[layer].map(\.magnitude).max()!
        let kept = weights[layer].firstIndex { $0.magnitude == largest }
        going.removeAll { $0.layer == layer && $0.index == kept }
      }
    }
    let coming = Self.entries(gradients)
      .sorted { (-$0.magnitude, $0.layer, $0.index) < (-$1.magnitude, $1.layer, $1.index) }.prefix(going.count)
    pruned = weights.indices.map { layer in going.filter { $0.layer == layer }.map(\.index).sorted() }
    grown = weights.indices.map { layer in coming.filter { $0.layer == layer }.map(\.index).sorted() }
  }

  private static func entries(_ scores: [[Float]]) -> [Entry] {
    scores.indices.flatMap { layer in
      scores[layer].indices.map { Entry(layer: layer, index: $0, magnitude: scores[layer][$0].magnitude) }
    }
  }
}
