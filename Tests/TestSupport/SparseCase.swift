/// A sparse matrix to test with: its structure in compressed sparse rows, and its values.
public struct SparseCase: Sendable, CustomStringConvertible {
  public let rows: Int
  public let columns: Int
  public let rowStarts: [UInt64]
  public let columnIndices: [UInt32]
  public var values: [Float]
  public let name: String

  public var count: Int { columnIndices.count }
  public var description: String { "\(rows)x\(columns), \(name)" }

  public init(
    rows: Int, columns: Int, rowStarts: [UInt64], columnIndices: [UInt32], values: [Float], name: String
  ) {
    self.rows = rows
    self.columns = columns
    self.rowStarts = rowStarts
    self.columnIndices = columnIndices
    self.values = values
    self.name = name
  }

  /// The matrix with connection (row, column) wherever `isActive` says so, and signed random values.
  public init(rows: Int, columns: Int, seed: UInt64, name: String, isActive: (Int, Int) -> Bool) {
    var random = SparseRandom(seed: seed)
    var starts: [UInt64] = [0]
    var indices: [UInt32] = []
    for row in 0..<rows {
      for column in 0..<columns where isActive(row, column) { indices.append(UInt32(column)) }
      starts.append(UInt64(indices.count))
    }
    self.rows = rows
    self.columns = columns
    self.name = name
    rowStarts = starts
    columnIndices = indices
    values = indices.map { _ in random.signed() }
  }

  /// Every connection is active with probability `density`, apart from the rows and columns that `isEmpty` names.
  public init(
    rows: Int, columns: Int, density: Double, seed: UInt64, isEmpty: (Int) -> Bool = { _ in false }
  ) {
    var random = SparseRandom(seed: seed)
    let drawn = (0..<rows * columns).map { _ in random.unit() < density }
    self.init(rows: rows, columns: columns, seed: seed + 1, name: "density \(density), seed \(seed)") { row, column in
      drawn[row * columns + column] && !isEmpty(row) && !isEmpty(column)
    }
  }

  /// The (row, column) of every connection, in order.
  public var connections: [(row: Int, column: Int)] {
    (0..<rows).flatMap { row in
      columnIndices[Int(rowStarts[row])..<Int(rowStarts[row + 1])].map { (row, Int($0)) }
    }
  }

  /// Row-major dense form; nil where there is no connection.
  public var dense: [Float?] {
    var dense = [Float?](repeating: nil, count: rows * columns)
    for (k, (row, column)) in connections.enumerated() { dense[row * columns + column] = values[k] }
    return dense
  }

  /// All combinations, and for each size one matrix in which every third row and column is empty.
  public static func sweep(rows: [Int], columns: [Int], densities: [Double], seed: UInt64) -> [SparseCase] {
    rows.flatMap { rows in
      columns.flatMap { columns in
        densities.map { SparseCase(rows: rows, columns: columns, density: $0, seed: seed) }
          + [SparseCase(rows: rows, columns: columns, density: 0.5, seed: seed) { $0 % 3 == 1 }]
      }
    }
  }
}

/// A small generator for tests.
///
/// Source: SplitMix64; Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
public struct SparseRandom: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [0, 1).
  public mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Uniform in (-1, 1), never zero.
  public mutating func signed() -> Float { (Float(next() >> 42) + 0.5) * 0x1p-21 - 1 }
}
