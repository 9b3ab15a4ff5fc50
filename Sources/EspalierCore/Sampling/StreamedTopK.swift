import EspSampling

/// Finds the k inactive connections of a layer with the largest gradients while the gradient passes by in tiles; ties go to the
/// first in order of (row, column).
///
/// Keeps a running top-k: what is not above the k-th largest magnitude so far is passed over. Time is that of the stream; memory
/// O(k + rows + columns).
public final class StreamedTopK {
  private let structure: SparseStructure
  private let site: WeightSite
  private let meter: AllocationMeter
  private let values: MeteredBuffer<Float>
  private let keys: MeteredBuffer<UInt64>
  private let selected: MeteredBuffer<UInt32>
  private let histogram: MeteredBuffer<UInt64>
  private var stream: esp_stream
  /// The gradient at the active connections, as far as it has been shown.
  public let activeGradients: MeteredBuffer<Float>

  /// - Parameters:
  ///   - k: how many to find; where fewer connections are inactive, or the rule that keeps memory sparse allows no buffer for twice as
  ///     many, as many as that.
  ///   - matrix: the layer whose gradient will be shown.
  public init(_ k: Int, of matrix: SparseMatrix) {
    structure = matrix.structure
    site = matrix.site
    meter = matrix.meter
    let free = matrix.rows * matrix.columns - matrix.count
    let room = min(free, site.largestBuffer(gamma: meter.gamma))
    let k = min(k, room == free ? free : room / 2)
    let capacity = min(room, k + max(k, 1024))
    values = MeteredBuffer(count: capacity, tag: .selection, site: site, meter: meter)
    keys = MeteredBuffer(count: capacity, tag: .selection, site: site, meter: meter)
    selected = MeteredBuffer(count: k, tag: .selection, site: site, meter: meter)
    histogram = MeteredBuffer(count: 2048, tag: .selection, site: nil, meter: meter)
    activeGradients = MeteredBuffer(count: matrix.count, tag: .gradient, site: site, meter: meter)
    stream = esp_stream(
      k: k, capacity: capacity, count: 0, threshold: 0, is_full: 0, values: values.pointer, keys: keys.pointer,
      selected: selected.pointer, histogram: histogram.pointer)
  }

  /// Shows the next rows.
  public func add(_ tile: GradientTile) {
    precondition(tile.gradients.count == tile.rows.count * structure.columns)
    withUnsafePointer(to: structure.csr) {
      esp_stream_rows(
        &stream, $0, tile.rows.lowerBound, tile.rows.count, tile.gradients.baseAddress, activeGradients.pointer)
    }
  }

  /// What was found, once all rows have been shown.
  public func finish() -> (connections: SparseStructure, gradients: MeteredBuffer<Float>) {
    esp_stream_compact(&stream)
    let count = stream.count
    let columns = UInt64(structure.columns)
    let starts = MeteredBuffer<UInt64>.zeros(count: structure.rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .candidates, site: site, meter: meter)
    let gradients = MeteredBuffer<Float>(count: count, tag: .candidates, site: site, meter: meter)
    for i in 0..<count {
      let (row, column) = keys.pointer[i].quotientAndRemainder(dividingBy: columns)
      starts.pointer[Int(row) + 1] += 1
      indices.pointer[i] = UInt32(column)
      gradients.pointer[i] = values.pointer[i]
    }
    for row in 0..<structure.rows { starts.pointer[row + 1] += starts.pointer[row] }
    let connections = SparseStructure(
      rows: structure.rows, columns: structure.columns, rowStarts: starts, columnIndices: indices)
    return (connections, gradients)
  }
}
