import EspSparseMatmul

/// Which connections of a rows x columns matrix exist, in compressed sparse rows: row starts and, ascending within each row,
/// column indices. No values: a connection whose weight is zero is a connection all the same.
///
/// Serves as the structure of a layer's weights and as a set of candidate or grown connections.
public final class SparseStructure {
  /// Outputs, or output channels.
  public let rows: Int
  /// Inputs: channels * kernel height * width.
  public let columns: Int
  /// [rows + 1]
  public let rowStarts: MeteredBuffer<UInt64>
  /// Room for column indices, of which the first `count` count.
  public let columnIndices: MeteredBuffer<UInt32>
  /// Number of connections.
  public let count: Int
  private var tiles = esp_csr_tiles()
  private var segments: MeteredBuffer<esp_csr_segment>?

  /// Wraps buffers that a kernel filled.
  ///
  /// - Precondition: the structure's invariants hold (`check` tells).
  package init(
    rows: Int, columns: Int, rowStarts: MeteredBuffer<UInt64>, columnIndices: MeteredBuffer<UInt32>
  ) {
    self.rows = rows
    self.columns = columns
    self.rowStarts = rowStarts
    self.columnIndices = columnIndices
    count = Int(rowStarts.pointer[rows])
    assert(count <= columnIndices.count)
  }

  /// An empty structure.
  public static func empty(
    rows: Int, columns: Int, tag: AllocationTag, site: WeightSite, meter: AllocationMeter
  ) -> SparseStructure {
    SparseStructure(
      rows: rows, columns: columns,
      rowStarts: .zeros(count: rows + 1, tag: tag, site: site, meter: meter),
      columnIndices: MeteredBuffer(count: 0, tag: tag, site: site, meter: meter))
  }

  /// A structure with the listed (row, column) pairs, in any order. For tests and small structures.
  ///
  /// - Throws: `EspalierError.usage` for a pair that is out of range or listed twice.
  public convenience init(
    rows: Int, columns: Int, connections: [(row: Int, column: Int)], name: String = "structure",
    tag: AllocationTag = .structure, meter: AllocationMeter
  ) throws {
    let site = WeightSite(layer: name, rows: rows, columns: columns, connections: connections.count)
    let starts = MeteredBuffer<UInt64>.zeros(count: rows + 1, tag: tag, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: connections.count, tag: tag, site: site, meter: meter)
    var previous: (row: Int, column: Int)?
    for (position, pair) in connections.sorted(by: <).enumerated() {
      guard (0..<rows).contains(pair.row), (0..<columns).contains(pair.column) else {
        throw EspalierError.usage("\(name): connection \(pair) lies outside of \(rows) x \(columns)")
      }
      if let previous, previous == pair { throw EspalierError.usage("\(name): connection \(pair) is listed twice") }
      previous = pair
      starts.pointer[pair.row + 1] += 1
      indices.pointer[position] = UInt32(pair.column)
    }
    for row in 0..<rows { starts.pointer[row + 1] += starts.pointer[row] }
    self.init(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
    try check(name: name)
  }

  /// The structure as kernels take it; valid while the structure lives.
  package var csr: esp_csr {
    esp_csr(
      rows: rows, columns: columns, row_starts: UnsafePointer(rowStarts.pointer),
      column_indices: UnsafePointer(columnIndices.pointer), tiles: tiles)
  }

  /// Lays out the tiles in which a linear layer's products go over the connections, where there are enough of them. O(nnz)
  func layOutTiles(site: WeightSite, meter: AllocationMeter, threads: Int) {
    tiles = esp_csr_choose_tiles(rows, columns, UInt64(count))
    guard tiles.columns > 0 else { return }
    withUnsafePointer(to: csr) {
      let buffer = MeteredBuffer<esp_csr_segment>(
        count: esp_csr_segment_count($0, tiles), tag: .structure, site: site, meter: meter)
      esp_csr_fill_segments($0, tiles, buffer.pointer, Int32(threads))
      segments = buffer
      tiles.segments = UnsafePointer(buffer.pointer)
    }
  }

  /// Positions of the connections of a row.
  public func positions(ofRow row: Int) -> Range<Int> { Int(rowStarts[row])..<Int(rowStarts[row + 1]) }

  /// Row and column of the connection at `position`. O(log rows).
  public func connection(at position: Int) -> (row: Int, column: Int) {
    precondition(position >= 0 && position < count)
    return withUnsafePointer(to: csr) { (Int(esp_csr_row_of($0, UInt64(position))), Int(columnIndices[position])) }
  }

  /// Every invariant: row starts ascend from 0, columns are in range and ascend strictly within each row.
  ///
  /// - Throws: `EspalierError.input` that names the row.
  public func check(name: String) throws {
    var row = 0
    let status = withUnsafePointer(to: csr) { esp_csr_check($0, &row) }
    guard status != ESP_CSR_OK else { return }
    let fault =
      switch status {
      case ESP_CSR_BAD_ROW_STARTS: "row starts do not ascend from 0"
      case ESP_CSR_COLUMN_OUT_OF_RANGE: "a column index is not below \(columns)"
      case ESP_CSR_COLUMNS_NOT_ASCENDING: "column indices do not ascend strictly"
      default: "it has too many connections or columns for 32-bit indices"
      }
    throw EspalierError.input("\(name): damaged sparse structure, row \(row): \(fault)")
  }

  /// Rows that hold no connection.
  public var emptyRows: Int { (0..<rows).count { rowStarts.pointer[$0] == rowStarts.pointer[$0 + 1] } }

  /// Columns that no row has a connection to. O(nnz + columns)
  public func emptyColumns(site: WeightSite, meter: AllocationMeter) -> Int {
    let isUsed = MeteredBuffer<UInt8>.zeros(count: columns, tag: .selection, site: site, meter: meter)
    for position in 0..<count { isUsed.pointer[Int(columnIndices.pointer[position])] = 1 }
    return isUsed.buffer.count { $0 == 0 }
  }

  /// Bytes of the structure.
  public var bytes: Int {
    rowStarts.count * 8 + columnIndices.count * 4 + (segments?.count ?? 0) * MemoryLayout<esp_csr_segment>.stride
  }
}

/// The transposed structure of a layer, with the permutation that takes values there.
///
/// For a convolution, channels are transposed and the kernel is flipped, so that the forward kernel computes the input gradient.
final class TransposedStructure {
  let structure: SparseStructure
  let permutation: MeteredBuffer<UInt32>
  private let values: MeteredBuffer<Float>
  private var version = -1

  init(of structure: SparseStructure, taps: Int, site: WeightSite, meter: AllocationMeter) {
    let rows = structure.columns / taps
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: structure.count, tag: .structure, site: site, meter: meter)
    let permutation = MeteredBuffer<UInt32>(count: structure.count, tag: .structure, site: site, meter: meter)
    withUnsafePointer(to: structure.csr) {
      esp_csr_transpose($0, taps, starts.pointer, indices.pointer, permutation.pointer)
    }
    self.permutation = permutation
    values = MeteredBuffer(count: structure.count, tag: .values, site: site, meter: meter)
    self.structure = SparseStructure(
      rows: rows, columns: structure.rows * taps, rowStarts: starts, columnIndices: indices)
  }

  /// The values in transposed order; permuted anew only where `version` says that they changed.
  func values(from original: MeteredBuffer<Float>, version: Int, threads: Int32) -> UnsafeMutablePointer<Float> {
    if version != self.version {
      esp_permute_f32(original.pointer, permutation.pointer, structure.count, values.pointer, threads)
      self.version = version
    }
    return values.pointer
  }

  /// Gradients in transposed order, into the order that they were transposed from.
  func restoreOrder(of gradients: UnsafePointer<Float>, into original: MeteredBuffer<Float>, threads: Int32) {
    precondition(original.count >= structure.count)
    esp_unpermute_f32(gradients, permutation.pointer, structure.count, original.pointer, threads)
  }

  var bytes: Int { structure.bytes + structure.count * 8 }
}
