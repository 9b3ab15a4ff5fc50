/// A layer of few connections as a test sees it: which cells of rows x columns are active, and their weights.
public struct OracleLayer: Sendable {
  public let rows, columns: Int
  /// row * columns + column of each connection, ascending.
  public let cells: [Int]
  /// One a connection.
  public var values: [Float]

  public init(rows: Int, columns: Int, cells: [Int], values: [Float]) {
    self.rows = rows
    self.columns = columns
    self.cells = cells
    self.values = values
  }

  /// `count` random cells with signed random weights.
  public init(rows: Int, columns: Int, count: Int, using random: inout LayerRandom) {
    let cells = (0..<rows * columns).shuffled(using: &random).prefix(count).sorted()
    self.init(rows: rows, columns: columns, cells: cells, values: random.floats(count))
  }

  public var connections: [(row: Int, column: Int)] { Self.connections(cells, columns: columns) }

  /// Cells without a connection, ascending.
  public var inactiveCells: [Int] {
    let active = Set(cells)
    return (0..<rows * columns).filter { !active.contains($0) }
  }

  public var inactiveConnections: [(row: Int, column: Int)] { Self.connections(inactiveCells, columns: columns) }

  /// Weights [rows, columns], zero where there is no connection.
  public var dense: [Double] { dense { Double($0) } }

  /// [rows, columns] of some function of the weights.
  public func dense(_ body: (Float) -> Double) -> [Double] {
    var result = [Double](repeating: 0, count: rows * columns)
    for (cell, value) in zip(cells, values) { result[cell] = body(value) }
    return result
  }

  public static func connections(_ cells: [Int], columns: Int) -> [(row: Int, column: Int)] {
    cells.map { ($0 / columns, $0 % columns) }
  }
}
