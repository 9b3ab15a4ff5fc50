/// A sparse matrix: a structure, one value a connection, and the transposed structure that the input gradient needs.
///
/// Rows are outputs. Columns are inputs: `inChannels * taps`, with `taps` = kernel height * width of a convolution, 1 of a linear
/// layer. Values change in place (through `withMutableValues`, which keeps the transposed copy honest); the structure
/// changes through `apply` alone.
public final class SparseMatrix {
  /// The layer's name, e.g. `features.0`.
  public let name: String
  /// Kernel height * width of a convolution; 1 of a linear layer.
  public let taps: Int
  /// Which connections are active.
  public private(set) var structure: SparseStructure
  private(set) var transposed: TransposedStructure
  package private(set) var values: MeteredBuffer<Float>
  private var version = 0
  /// Counts its memory.
  public let meter: AllocationMeter

  /// A matrix with zero values.
  public init(name: String, structure: SparseStructure, taps: Int = 1, meter: AllocationMeter) {
    precondition(taps > 0 && structure.columns % taps == 0)
    self.name = name
    self.taps = taps
    self.structure = structure
    self.meter = meter
    let site = WeightSite(
      layer: name, rows: structure.rows, columns: structure.columns, connections: structure.count)
    values = .zeros(count: structure.count, tag: .values, site: site, meter: meter)
    transposed = Self.prepare(structure, taps: taps, site: site, meter: meter, threads: 1)
  }

  /// Lays out the tiles of a linear layer's structure, both ways, and transposes it.
  private static func prepare(
    _ structure: SparseStructure, taps: Int, site: WeightSite, meter: AllocationMeter, threads: Int
  ) -> TransposedStructure {
    let transposed = TransposedStructure(of: structure, taps: taps, site: site, meter: meter)
    guard taps == 1 else { return transposed }
    for each in [structure, transposed.structure] { each.layOutTiles(site: site, meter: meter, threads: threads) }
    return transposed
  }

  /// Outputs, or output channels.
  public var rows: Int { structure.rows }
  /// Inputs: channels * taps.
  public var columns: Int { structure.columns }
  /// Number of active connections (nnz).
  public var count: Int { structure.count }
  /// count / (rows * columns)
  public var density: Double { Double(count) / (Double(rows) * Double(columns)) }
  /// What the meter knows this matrix as.
  public var site: WeightSite { WeightSite(layer: name, rows: rows, columns: columns, connections: count) }

  /// Reads the values, one a connection, in the structure's order.
  public func withValues<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
    try body(UnsafeBufferPointer(values.buffer))
  }

  /// Changes the values in place.
  public func withMutableValues<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R {
    version += 1
    return try body(values.buffer)
  }

  /// Rebuilds the structure in O(nnz + rows), carries the values over and gives grown connections the value zero.
  ///
  /// - Returns: the remap that every other state of the connections has to go through.
  public func apply(_ change: TopologyChange, threads: Int = 1) throws -> Remap {
    let (rebuilt, remap) = try structure.applying(change, name: name, meter: meter)
    let site = WeightSite(layer: name, rows: rows, columns: columns, connections: max(count, rebuilt.count))
    values = remap(values, tag: .values, site: site, meter: meter, threads: threads)
    structure = rebuilt
    transposed = Self.prepare(rebuilt, taps: taps, site: self.site, meter: meter, threads: threads)
    version += 1
    return remap
  }

  /// Puts another structure and other values in place of the present ones (a checkpoint's, say).
  public func replace(structure: SparseStructure, values: MeteredBuffer<Float>) {
    precondition(structure.rows == rows && structure.columns == columns && values.count == structure.count)
    self.structure = structure
    self.values = values
    transposed = Self.prepare(structure, taps: taps, site: site, meter: meter, threads: 1)
    version += 1
  }

  /// The transposed structure and the values in its order.
  func transposedView(threads: Int32) -> (structure: SparseStructure, values: UnsafeMutablePointer<Float>) {
    (transposed.structure, transposed.values(from: values, version: version, threads: threads))
  }

  /// Bytes of the structure both ways and of the values both ways.
  public var bytes: Int { structure.bytes + transposed.bytes + count * 4 }
}
