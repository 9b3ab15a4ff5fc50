import EspalierCore
import TestSupport
import Testing

@Suite struct SparseStructureTests {
  private let meter = AllocationMeter()

  private func structure(rows: Int, columns: Int, starts: [UInt64], indices: [UInt32]) -> SparseStructure {
    let site = WeightSite(layer: "layer", rows: rows, columns: columns, connections: indices.count)
    let rowStarts = MeteredBuffer<UInt64>(count: starts.count, tag: .structure, site: site, meter: meter)
    let columnIndices = MeteredBuffer<UInt32>(count: indices.count, tag: .structure, site: site, meter: meter)
    for i in starts.indices { rowStarts[i] = starts[i] }
    for i in indices.indices { columnIndices[i] = indices[i] }
    return SparseStructure(rows: rows, columns: columns, rowStarts: rowStarts, columnIndices: columnIndices)
  }

  @Test func listsItsConnectionsInOrder() throws {
    let structure = try SparseStructure(
      rows: 4, columns: 5, connections: [(3, 4), (0, 2), (3, 0), (0, 0), (1, 4)], meter: meter)
    #expect(structure.count == 5)
    #expect(structure.rowStarts.array == [0, 2, 3, 3, 5])
    #expect(structure.columnIndices.array == [0, 2, 4, 0, 4])
    #expect(structure.positions(ofRow: 0) == 0..<2 && structure.positions(ofRow: 2) == 3..<3)
    #expect(structure.emptyRows == 1)
    let listed = (0..<5).map { structure.connection(at: $0) }
    #expect(listed.map(\.row) == [0, 0, 1, 3, 3] && listed.map(\.column) == [0, 2, 4, 0, 4])
    #expect(structure.bytes == 5 * 8 + 5 * 4)
  }

  /// Tiles follow the structure through a change, count as memory, and are no convolution's.
  @Test func linearLayersWithManyConnectionsHaveTiles() throws {
    let meter = AllocationMeter()
    func structure(_ count: Int) -> SparseStructure {
      SparseStructure.random(
        name: "wide", rows: 64, columns: 1024, count: count, stream: CounterRandom(seed: 1).stream(.topology),
        meter: meter)
    }
    let matrix = SparseMatrix(name: "wide", structure: structure(20_000), meter: meter)
    #expect(matrix.structure.csr.tiles.segments != nil)
    #expect(matrix.bytes == meter.reading.weightBytes)
    #expect(matrix.structure.bytes == 65 * 8 + 20_000 * 4 + 64 * 8 * 8, "eight tiles across")
    matrix.replace(
      structure: structure(1000), values: .zeros(count: 1000, tag: .values, site: matrix.site, meter: meter))
    #expect(matrix.structure.csr.tiles.segments == nil)
    #expect(
      SparseMatrix(name: "deep", structure: structure(20_000), taps: 4, meter: meter).structure.csr.tiles.segments
        == nil)
  }

  @Test func emptyStructuresAreValid() throws {
    let site = WeightSite(layer: "layer", rows: 3, columns: 4, connections: 0)
    let empty = SparseStructure.empty(rows: 3, columns: 4, tag: .candidates, site: site, meter: meter)
    try empty.check(name: "empty")
    #expect(empty.count == 0 && empty.emptyRows == 3)
    #expect(try SparseStructure(rows: 3, columns: 4, connections: [], meter: meter).count == 0)
  }

  @Test(arguments: [(0, 4), (-1, 0), (3, 0), (0, -1)])
  func refusesConnectionsOutside(row: Int, column: Int) {
    #expect(
      performing: {
        try SparseStructure(rows: 3, columns: 4, connections: [(1, 1), (row, column)], meter: meter)
      }, throws: CoreHarness.isUsage)
  }

  @Test func refusesAConnectionListedTwice() {
    #expect(
      performing: {
        try SparseStructure(rows: 3, columns: 4, connections: [(1, 1), (2, 3), (1, 1)], meter: meter)
      }, throws: CoreHarness.isUsage)
  }

  @Test(
    arguments: [
      ([1, 1, 2, 3], [0, 1, 2], 0, "row starts do not ascend from 0"),
      ([0, 2, 1, 3], [0, 1, 2], 1, "row starts do not ascend from 0"),
      ([0, 1, 2, 3], [0, 4, 2], 1, "a column index is not below 4"),
      ([0, 1, 1, 3], [0, 2, 2], 2, "column indices do not ascend strictly"),
      ([0, 1, 1, 3], [0, 3, 2], 2, "column indices do not ascend strictly"),
      ([0, UInt64(UInt32.max), 2, 3], [0, 3, 2], 0, "it has too many connections or columns for 32-bit indices"),
    ] as [([UInt64], [UInt32], Int, String)])
  func namesTheDamage(starts: [UInt64], indices: [UInt32], row: Int, fault: String) {
    let damaged = structure(rows: 3, columns: 4, starts: starts, indices: indices)
    #expect(throws: EspalierError.input("layer: damaged sparse structure, row \(row): \(fault)")) {
      try damaged.check(name: "layer")
    }
  }

  /// Any change of one number of a structure is found if, and only if, the result is invalid by the definition.
  @Test func findsEveryDamage() {
    var random = LayerRandom(seed: 31)
    var found = 0
    for _ in 0..<5000 {
      let rows = Int.random(in: 1...6, using: &random)
      let columns = Int.random(in: 1...8, using: &random)
      let layer = OracleLayer(
        rows: rows, columns: columns, count: Int.random(in: 0...rows * columns, using: &random), using: &random)
      var starts = (0...rows).map { row in UInt64(layer.cells.count { $0 < row * columns }) }
      var indices = layer.cells.map { UInt32($0 % columns) }
      if indices.isEmpty || Bool.random(using: &random) {
        // The last row start says how many column indices there are: it is damaged downwards only.
        let i = Int.random(in: 0...rows, using: &random)
        starts[i] = UInt64.random(in: 0...(i == rows ? starts[rows] : starts[rows] + 3), using: &random)
      } else {
        indices[Int.random(in: indices.indices, using: &random)] = UInt32.random(
          in: 0...UInt32(columns + 1), using: &random)
      }
      let damaged = structure(rows: rows, columns: columns, starts: starts, indices: indices)
      let isValid = Self.isValid(columns: columns, starts: starts.map(Int.init), indices: indices.map(Int.init))
      let passes = (try? damaged.check(name: "layer")) != nil
      #expect(passes == isValid, "starts \(starts), indices \(indices)")
      found += passes ? 0 : 1
    }
    #expect(found > 2000)
  }

  private static func isValid(columns: Int, starts: [Int], indices: [Int]) -> Bool {
    guard starts[0] == 0, zip(starts, starts.dropFirst()).allSatisfy({ $0 <= $1 }) else { return false }
    return zip(starts, starts.dropFirst()).allSatisfy { start, end in
      let row = indices[start..<end]
      return row.allSatisfy { $0 < columns } && zip(row, row.dropFirst()).allSatisfy { $0 < $1 }
    }
  }

  @Test func subtractingIsTheSetDifference() throws {
    var random = LayerRandom(seed: 32)
    for _ in 0..<300 {
      let a = OracleLayer(rows: 5, columns: 7, count: Int.random(in: 0...35, using: &random), using: &random)
      let b = OracleLayer(rows: 5, columns: 7, count: Int.random(in: 0...35, using: &random), using: &random)
      let site = WeightSite(layer: "layer", rows: 5, columns: 7, connections: a.cells.count)
      let left = try SparseStructure(rows: 5, columns: 7, connections: a.connections, meter: meter)
      let right = try SparseStructure(rows: 5, columns: 7, connections: b.connections, meter: meter)
      let difference = left.subtracting(right, site: site, meter: meter)
      try difference.check(name: "difference")
      #expect(difference.cells == a.cells.filter { !b.cells.contains($0) })
    }
  }

  @Test func subsetTakesTheListedPositions() throws {
    var random = LayerRandom(seed: 33)
    for _ in 0..<300 {
      let layer = OracleLayer(rows: 6, columns: 5, count: Int.random(in: 0...30, using: &random), using: &random)
      let structure = try SparseStructure(rows: 6, columns: 5, connections: layer.connections, meter: meter)
      let positions = layer.cells.indices.filter { _ in Bool.random(using: &random) }
      let site = WeightSite(layer: "layer", rows: 6, columns: 5, connections: layer.cells.count)
      let subset = positions.map(UInt32.init).withUnsafeBufferPointer {
        structure.subset(positions: $0, site: site, meter: meter)
      }
      try subset.check(name: "subset")
      #expect(subset.cells == positions.map { layer.cells[$0] })
    }
  }
}

extension SparseStructure {
  /// row * columns + column of each connection.
  var cells: [Int] {
    (0..<rows).flatMap { row in positions(ofRow: row).map { row * columns + Int(columnIndices[$0]) } }
  }
}
