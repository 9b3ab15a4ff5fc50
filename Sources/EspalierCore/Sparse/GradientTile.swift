/// The loss's gradient at every connection, active or not, of some rows of a layer.
public struct GradientTile {
  /// Which rows (outputs) of the layer these are.
  public let rows: Range<Int>
  /// All inputs of the layer.
  public let columns: Int
  /// [rows, columns], valid while the tile is shown.
  public let gradients: UnsafeBufferPointer<Float>

  /// A tile; `gradients` stays the caller's.
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
    let gradients = MeteredBuffer<Float>(count: height * columns, tag: .candidates, site: site, meter: meter)
    for first in stride(from: 0, to: rows, by: height) {
      let tile = first..<min(rows, first + height)
      computeGradients(ofRows: tile, into: gradients)
      try withExtendedLifetime(gradients) {
        let numbers = UnsafeBufferPointer(start: UnsafePointer(gradients.pointer), count: tile.count * columns)
        try body(GradientTile(rows: tile, columns: columns, gradients: numbers))
      }
    }
  }

  /// As `computeGradients(at:into:)` at a structure that lists all connections of the rows: for a layer without a kernel of its own.
  ///
  /// - Complexity: O(rows.count * columns) memory for that structure, beside the gradients.
  public func computeGradients(ofRows rows: Range<Int>, into gradients: MeteredBuffer<Float>) {
    let matrix = parameter.matrix
    let (columns, site, meter) = (matrix.columns, matrix.site, matrix.meter)
    let starts = MeteredBuffer<UInt64>(count: matrix.rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: rows.count * columns, tag: .candidates, site: site, meter: meter)
    for row in 0...matrix.rows {
      starts.pointer[row] = UInt64((min(max(row, rows.lowerBound), rows.upperBound) - rows.lowerBound) * columns)
    }
    for place in 0..<indices.count { indices.pointer[place] = UInt32(place % columns) }
    let connections = SparseStructure(rows: matrix.rows, columns: columns, rowStarts: starts, columnIndices: indices)
    computeGradients(at: connections, into: gradients)
  }
}
