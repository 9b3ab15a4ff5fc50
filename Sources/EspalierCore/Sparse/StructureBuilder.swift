/// Makes a layer's structure and values from what is selected of its tiles, in order; memory grows with what is there.
public final class StructureBuilder {
  private let name: String
  private let rows: Int
  private let columns: Int
  private let meter: AllocationMeter
  private let rowStarts: MeteredBuffer<UInt64>
  private var indices: MeteredBuffer<UInt32>
  private var values: MeteredBuffer<Float>
  private var count = 0
  private var filledRows = 0

  /// A layer of which no tile has been shown.
  public init(name: String, rows: Int, columns: Int, meter: AllocationMeter) {
    (self.name, self.rows, self.columns, self.meter) = (name, rows, columns, meter)
    let site = WeightSite(layer: name, rows: rows, columns: columns, connections: 0)
    rowStarts = .zeros(count: rows + 1, tag: .structure, site: site, meter: meter)
    indices = MeteredBuffer(count: min(1024, rows + columns), tag: .structure, site: site, meter: meter)
    values = MeteredBuffer(count: min(1024, rows + columns), tag: .values, site: site, meter: meter)
  }

  /// Takes the weights at ascending `places` of the next tile.
  public func append(_ tile: ScoreTile, places: UnsafeBufferPointer<UInt32>) {
    precondition(tile.rows.lowerBound == filledRows)
    reserve(count + places.count)
    var row = 0
    for place in places {
      while tile.rowStarts.pointer[row + 1] <= UInt64(place) { endRow(&row) }
      indices.pointer[count] = tile.columnIndices.pointer[Int(place)]
      values.pointer[count] = tile.values.pointer[Int(place)]
      count += 1
    }
    while row < tile.rows.count { endRow(&row) }
  }

  private func endRow(_ row: inout Int) {
    row += 1
    filledRows += 1
    rowStarts.pointer[filledRows] = UInt64(count)
  }

  private func reserve(_ room: Int) {
    guard room > indices.count else { return }
    resize(to: max(room, min(2 * count, rows * columns)), connections: room)
  }

  private func resize(to room: Int, connections: Int) {
    let site = WeightSite(layer: name, rows: rows, columns: columns, connections: connections)
    let (newIndices, newValues) = (
      MeteredBuffer<UInt32>(count: room, tag: .structure, site: site, meter: meter),
      MeteredBuffer<Float>(count: room, tag: .values, site: site, meter: meter)
    )
    newIndices.pointer.update(from: indices.pointer, count: count)
    newValues.pointer.update(from: values.pointer, count: count)
    (indices, values) = (newIndices, newValues)
  }

  /// The structure and the values, one a connection, once all rows have been shown.
  public func finish() -> (structure: SparseStructure, values: MeteredBuffer<Float>) {
    precondition(filledRows == rows)
    if indices.count != count { resize(to: count, connections: count) }
    let structure = SparseStructure(rows: rows, columns: columns, rowStarts: rowStarts, columnIndices: indices)
    return (structure, values)
  }
}
