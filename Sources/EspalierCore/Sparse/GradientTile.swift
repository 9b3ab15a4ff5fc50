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
    // A linear layer's inputs stay in the cache for all rows of a tile, some of them at a time.
    let width = matrix.taps == 1 ? min(columns, 1024) : columns
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: height * width, tag: .candidates, site: site, meter: meter)
    let part = MeteredBuffer<Float>(count: height * width, tag: .candidates, site: site, meter: meter)
    let gradients = MeteredBuffer<Float>(count: height * columns, tag: .candidates, site: site, meter: meter)
    for first in stride(from: 0, to: rows, by: height) {
      let tile = first..<min(rows, first + height)
      for left in stride(from: 0, to: columns, by: width) {
        let count = min(width, columns - left)
        if left == 0 || count < width {
          for row in 0...rows {
            starts.pointer[row] = UInt64((min(max(row, tile.lowerBound), tile.upperBound) - first) * count)
          }
        }
        for place in 0..<tile.count * count { indices.pointer[place] = UInt32(left + place % count) }
        let connections = SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
        computeGradients(at: connections, into: part)
        for row in 0..<tile.count {
          (gradients.pointer + row * columns + left).update(from: part.pointer + row * count, count: count)
        }
      }
      try withExtendedLifetime(gradients) {
        let numbers = UnsafeBufferPointer(start: UnsafePointer(gradients.pointer), count: tile.count * columns)
        try body(GradientTile(rows: tile, columns: columns, gradients: numbers))
      }
    }
  }
}
