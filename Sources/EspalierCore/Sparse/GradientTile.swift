/// The loss's gradient at every connection, active or not, of some rows of a layer.
public struct GradientTile {
  public let rows: Range<Int>
  public let columns: Int
  /// [rows, columns], valid while the tile is shown.
  public let gradients: UnsafeBufferPointer<Float>

  public init(rows: Range<Int>, columns: Int, gradients: UnsafeBufferPointer<Float>) {
    self.rows = rows
    self.columns = columns
    self.gradients = gradients
  }
}

extension GradientSite {
  /// Shows `body` the whole gradient, some 64 rows at a time: as many as the rule that keeps memory sparse allows one buffer.
  ///
  /// - Complexity: 2 * rows * columns operations a row of the batch; O(nnz + rows + columns) memory.
  public func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows {
    let matrix = parameter.matrix
    let (rows, columns, site, meter) = (matrix.rows, matrix.columns, matrix.site, matrix.meter)
    let height = max(1, min(64, rows, site.largestBuffer(gamma: meter.gamma) / columns))
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: height * columns, tag: .candidates, site: site, meter: meter)
    let gradients = MeteredBuffer<Float>(count: height * columns, tag: .candidates, site: site, meter: meter)
    for row in 0..<height {
      for column in 0..<columns { indices.pointer[row * columns + column] = UInt32(column) }
    }
    for first in stride(from: 0, to: rows, by: height) {
      let tile = first..<min(rows, first + height)
      for row in 0...rows {
        starts.pointer[row] = UInt64((min(max(row, tile.lowerBound), tile.upperBound) - first) * columns)
      }
      let connections = SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
      computeGradients(at: connections, into: gradients)
      try withExtendedLifetime(gradients) {
        let numbers = UnsafeBufferPointer(start: UnsafePointer(gradients.pointer), count: connections.count)
        try body(GradientTile(rows: tile, columns: columns, gradients: numbers))
      }
    }
  }
}
