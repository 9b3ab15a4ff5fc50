import EspalierCore

/// What a report shows of a layer's structure: how connections spread over outputs, inputs and the plane between them.
package struct LayerPicture: Sendable {
  /// Cells of the picture along each side, at most.
  static let side = 64
  /// Bins of a histogram, at most.
  static let bins = 24

  package let name: String
  package let rows, columns, connections: Int
  /// Of connections an output.
  package let fanIn: Histogram
  /// Of connections an input.
  package let fanOut: Histogram
  /// [height, width], connections a cell of the reduced plane.
  package let cells: [Int]
  package let width, height: Int

  /// - Complexity: O(rows + columns + connections).
  package init(_ matrix: SparseMatrix) {
    let structure = matrix.structure
    name = matrix.name
    rows = structure.rows
    columns = structure.columns
    connections = structure.count
    width = min(columns, Self.side)
    height = min(rows, Self.side)
    var cells = [Int](repeating: 0, count: width * height)
    var outputs = [Int](repeating: 0, count: columns)
    var inputs: [Int] = []
    inputs.reserveCapacity(rows)
    for row in 0..<rows {
      let positions = structure.positions(ofRow: row)
      inputs.append(positions.count)
      for position in positions {
        let column = Int(structure.columnIndices[position])
        outputs[column] += 1
        cells[row * height / rows * width + column * width / columns] += 1
      }
    }
    self.cells = cells
    fanIn = Histogram(inputs, bins: Self.bins)
    fanOut = Histogram(outputs, bins: Self.bins)
  }

  var density: Double { Double(connections) / (Double(rows) * Double(columns)) }
}

/// Counts of whole numbers in bins of equal width, the first of which starts at 0.
package struct Histogram: Sendable, Equatable {
  package let binWidth: Int
  package let counts: [Int]
  package let mean: Double
  package let maximum: Int
  package let zeros: Int

  package init(_ values: [Int], bins: Int) {
    maximum = values.max() ?? 0
    mean = values.isEmpty ? 0 : Double(values.reduce(0, +)) / Double(values.count)
    zeros = values.count { $0 == 0 }
    binWidth = maximum / bins + 1
    var counts = [Int](repeating: 0, count: maximum / binWidth + 1)
    for value in values { counts[value / binWidth] += 1 }
    self.counts = counts
  }
}
