import EspSampling
import Foundation
import TestSupport
import Testing

/// A structure that owns its arrays.
private struct Structure {
  let rows, columns: Int
  var rowStarts: [UInt64]
  var columnIndices: [UInt32]

  /// Whether the row starts ascend from 0 to the number of connections.
  var hasValidStarts: Bool {
    rowStarts.first == 0 && rowStarts.last == UInt64(columnIndices.count)
      && zip(rowStarts, rowStarts.dropFirst()).allSatisfy { $0 <= $1 }
  }

  /// The connections as row * columns + column; none where the row starts are broken.
  var cells: [Int] {
    guard hasValidStarts else { return [] }
    return (0..<rows).flatMap { row in
      columnIndices[Int(rowStarts[row])..<Int(rowStarts[row + 1])].map { row * columns + Int($0) }
    }
  }

  init(rows: Int, columns: Int, rowStarts: [UInt64], columnIndices: [UInt32]) {
    self.rows = rows
    self.columns = columns
    self.rowStarts = rowStarts
    self.columnIndices = columnIndices
  }

  init(rows: Int, columns: Int, cells: some Sequence<Int>) {
    let sorted = cells.sorted()
    self.init(
      rows: rows, columns: columns,
      rowStarts: (0...rows).map { row in UInt64(sorted.count { $0 < row * columns }) },
      columnIndices: sorted.map { UInt32($0 % columns) })
  }

  func withCSR<Result>(_ body: (UnsafePointer<esp_csr>) -> Result) -> Result {
    rowStarts.withUnsafeBufferPointer { starts in
      columnIndices.withUnsafeBufferPointer { indices in
        var csr = esp_csr(
          rows: rows, columns: columns, row_starts: starts.baseAddress, column_indices: indices.baseAddress,
          tiles: esp_csr_tiles())
        return body(&csr)
      }
    }
  }

  /// Expects row starts that ascend from 0 to the count, and columns that ascend strictly within rows.
  func expectValid(sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(hasValidStarts, sourceLocation: sourceLocation)
    let inRange = columnIndices.allSatisfy { Int($0) < columns }
    let ascending = zip(cells, cells.dropFirst()).allSatisfy { $0 < $1 }
    #expect(inRange && ascending, sourceLocation: sourceLocation)
  }
}

/// Elements behind the end of every output and workspace, which must stay as they are.
private let guardCount = 4
private let guardValue: UInt32 = 0xDEAD_BEEF

private func guarded(_ count: Int) -> [UInt32] { [UInt32](repeating: guardValue, count: count + guardCount) }
private func guarded64(_ count: Int) -> [UInt64] {
  [UInt64](repeating: UInt64(guardValue), count: count + guardCount)
}

private func expectGuard<T: BinaryInteger>(_ array: [T], sourceLocation: SourceLocation = #_sourceLocation) {
  let intact = array.suffix(guardCount).allSatisfy { $0 == T(guardValue) }
  #expect(intact, "written beyond the end", sourceLocation: sourceLocation)
}

private func randomStructure(_ key: esp_random_key, _ rows: Int, _ columns: Int, _ count: Int) -> Structure {
  var keys = guarded64(min(count, rows * columns - count))
  var workspace = guarded64(min(count, rows * columns - count))
  var rowStarts = guarded64(rows + 1)
  var columnIndices = guarded(count)
  esp_random_structure(key, rows, columns, count, &keys, &workspace, &rowStarts, &columnIndices)
  expectGuard(keys)
  expectGuard(workspace)
  expectGuard(rowStarts)
  expectGuard(columnIndices)
  return Structure(
    rows: rows, columns: columns, rowStarts: rowStarts.dropLast(guardCount),
    columnIndices: columnIndices.dropLast(guardCount))
}

private func randomInactive(_ key: esp_random_key, _ active: Structure, _ count: Int) -> Structure {
  var keys = guarded64(count)
  var workspace = guarded64(count)
  var rowStarts = guarded64(active.rows + 1)
  var columnIndices = guarded(count)
  active.withCSR { esp_random_inactive(key, $0, count, &keys, &workspace, &rowStarts, &columnIndices) }
  expectGuard(keys)
  expectGuard(workspace)
  expectGuard(rowStarts)
  expectGuard(columnIndices)
  return Structure(
    rows: active.rows, columns: active.columns, rowStarts: rowStarts.dropLast(guardCount),
    columnIndices: columnIndices.dropLast(guardCount))
}

private func candidateSubset(
  _ key: esp_random_key, _ active: Structure, draws: Int, outputs: UnsafePointer<esp_alias>? = nil,
  inputs: UnsafePointer<esp_alias>? = nil
) -> Structure {
  let room = min(draws, active.rows * active.columns - active.columnIndices.count)
  var rowCounts = guarded(active.rows)
  var rowScratch = guarded(active.columns)
  var rowStarts = guarded64(active.rows + 1)
  var columnIndices = guarded(room)
  let count = active.withCSR {
    esp_candidate_subset(
      key, $0, outputs, inputs, UInt64(draws), &rowCounts, &rowScratch, &rowStarts, &columnIndices)
  }
  expectGuard(rowCounts)
  expectGuard(rowScratch)
  expectGuard(rowStarts)
  expectGuard(columnIndices)
  #expect(count <= room)
  return Structure(
    rows: active.rows, columns: active.columns, rowStarts: rowStarts.dropLast(guardCount),
    columnIndices: Array(columnIndices.prefix(count)))
}

private func key(_ step: Int, stream: UInt32 = 9) -> esp_random_key {
  esp_random_key(seed: 20_24, stream: stream, step: UInt32(step))
}

/// Rows of very different fan-in: full, empty, sparse, full but one.
private let uneven = Structure(
  rows: 6, columns: 9,
  cells: Array(0..<9) + [18, 22, 26] + Array(27..<35) + [36] + [46, 47, 49, 53])

@Suite struct RandomStructureTests {
  @Test(arguments: [(1, 1), (1, 40), (40, 1), (5, 7), (64, 33)])
  func holdsExactlyTheCount(rows: Int, columns: Int) {
    let total = rows * columns
    for count in Set([0, 1, total / 3, total / 2, total / 2 + 1, total - 1, total]) where count <= total {
      let structure = randomStructure(key(count), rows, columns, count)
      #expect(structure.columnIndices.count == count)
      structure.expectValid()
    }
  }

  @Test func emptyColumnsGiveEmptyRows() {
    #expect(randomStructure(key(0), 3, 0, 0).rowStarts == [0, 0, 0, 0])
  }

  @Test(arguments: [1, 6, 17, 18, 29, 34])
  func everyCellIsEquallyLikely(count: Int) {
    let total = 35
    let trials = 4000
    var counts = [Int](repeating: 0, count: total)
    for trial in 0..<trials { for cell in randomStructure(key(trial), 5, 7, count).cells { counts[cell] += 1 } }
    let p = Double(count) / Double(total)
    let statistic = LayerStatistics.chiSquared(
      exchangeable: counts, trials: trials, variance: p * (1 - p), covariance: -p * (1 - p) / Double(total - 1))
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: total - 1))
  }

  /// All 15 structures of 2, or of 4, connections in 2 x 3.
  @Test(arguments: [2, 4])
  func everyStructureIsEquallyLikely(count: Int) {
    var counts: [[Int]: Int] = [:]
    for trial in 0..<15_000 { counts[randomStructure(key(trial, stream: 4), 2, 3, count).cells, default: 0] += 1 }
    #expect(counts.count == 15)
    let statistic = LayerStatistics.chiSquared(uniform: Array(counts.values))
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: 14))
  }

  @Test func dependsOnTheKeyAlone() {
    let first = randomStructure(key(3), 30, 40, 200)
    #expect(randomStructure(key(3), 30, 40, 200).cells == first.cells)
    #expect(randomStructure(key(4), 30, 40, 200).cells != first.cells)
  }
}

@Suite struct RandomInactiveTests {
  @Test func countsAreExactAndNothingActiveAppears() {
    let all = Structure(rows: 6, columns: 9, cells: 0..<54)
    let none = Structure(rows: 6, columns: 9, cells: [])
    for active in [uneven, all, none] {
      let taken = Set(active.cells)
      for count in 0...(54 - taken.count) {
        let grown = randomInactive(key(count), active, count)
        #expect(grown.columnIndices.count == count)
        grown.expectValid()
        #expect(taken.isDisjoint(with: grown.cells))
      }
    }
  }

  @Test(arguments: [1, 7, 14, 20, 27])
  func everyInactiveCellIsEquallyLikely(count: Int) {
    let taken = Set(uneven.cells)
    let free = (0..<54).filter { !taken.contains($0) }
    let trials = 4000
    var counts = [Int](repeating: 0, count: 54)
    for trial in 0..<trials { for cell in randomInactive(key(trial), uneven, count).cells { counts[cell] += 1 } }
    let p = Double(count) / Double(free.count)
    let statistic = LayerStatistics.chiSquared(
      exchangeable: free.map { counts[$0] }, trials: trials, variance: p * (1 - p),
      covariance: -p * (1 - p) / Double(free.count - 1))
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: free.count - 1))
  }
}

@Suite struct CandidateSubsetTests {
  @Test(arguments: [0, 1, 5, 54, 54 * 16])
  func candidatesAreDistinctAndInactive(draws: Int) {
    let all = Structure(rows: 6, columns: 9, cells: 0..<54)
    let none = Structure(rows: 6, columns: 9, cells: [])
    for active in [uneven, all, none] {
      let subset = candidateSubset(key(draws), active, draws: draws)
      subset.expectValid()
      #expect(Set(active.cells).isDisjoint(with: subset.cells))
    }
    #expect(candidateSubset(key(draws), all, draws: draws).columnIndices.isEmpty)
  }

  /// The same numbers as one draw after the other, on every side uniform or from a table: batches of short rows, long rows, scans.
  @Test(arguments: [(1, 1, 0), (3, 5, 4), (512, 10, 900), (64, 64, 4000), (600, 700, 4800), (7, 9000, 3000)], 0..<4)
  func drawsAreThoseOfTheStream(shape: (rows: Int, columns: Int, count: Int), tables: Int) {
    let active = randomStructure(key(1), shape.rows, shape.columns, shape.count)
    let numbers = key(tables)
    var columnNumbers = numbers
    columnNumbers.stream ^= 0x8000_0000
    /// Made-up tables do: each place stays with some probability, or becomes another place.
    func withTable<Result>(_ n: Int, isUniform: Bool, _ body: (UnsafePointer<esp_alias>?) -> Result) -> Result {
      guard !isUniform else { return body(nil) }
      let thresholds = (0..<n).map { Double($0 * 37 % 11) / 11 }
      let alias = (0..<n).map { UInt32(($0 * 13 + 5) % n) }
      return thresholds.withUnsafeBufferPointer { thresholds in
        alias.withUnsafeBufferPointer { alias in
          var table = esp_alias(n: n, threshold: thresholds.baseAddress, alias: alias.baseAddress)
          return body(&table)
        }
      }
    }
    for draws in [1, shape.count / 2 + 1, 2 * shape.count + 1] {
      withTable(shape.rows, isUniform: tables & 1 == 0) { outputs in
        withTable(shape.columns, isUniform: tables & 2 == 0) { inputs in
          func drawn(_ table: UnsafePointer<esp_alias>?, _ key: esp_random_key, _ index: UInt64, _ n: Int) -> Int {
            table.map { Int(esp_alias_draw($0, key, index)) } ?? Int(esp_random_below(key, index, UInt64(n)))
          }
          var counts = [UInt64](repeating: 0, count: shape.rows)
          for i in 0..<draws { counts[drawn(outputs, numbers, UInt64(i), shape.rows)] += 1 }
          var expected: Set<Int> = []
          for row in 0..<shape.rows {
            for j in 0..<counts[row] {
              expected.insert(
                row * shape.columns + drawn(inputs, columnNumbers, UInt64(row) << 32 | j, shape.columns))
            }
          }
          let subset = candidateSubset(numbers, active, draws: draws, outputs: outputs, inputs: inputs)
          subset.expectValid()
          #expect(subset.cells == expected.subtracting(active.cells).sorted())
        }
      }
    }
  }

  /// Shapes that draw few and many times in a row: sorts by rank and by radix, and the scan.
  @Test(arguments: [(1, 5000), (5000, 1), (3, 100_000), (40, 300)])
  func everyWayOfSortingARowIsValid(rows: Int, columns: Int) {
    let active = randomStructure(key(1), rows, columns, rows * columns / 10)
    let taken = Set(active.cells)
    for draws in [rows * columns / 100, rows * columns / 20, rows * columns / 5, rows * columns * 2] {
      let subset = candidateSubset(key(draws), active, draws: draws)
      subset.expectValid()
      #expect(taken.isDisjoint(with: subset.cells))
      expectCount(subset.columnIndices.count, active: active, draws: draws)
    }
  }

  @Test(arguments: [10, 54, 200])
  func everyInactiveCellIsEquallyLikely(draws: Int) {
    let taken = Set(uneven.cells)
    let free = (0..<54).filter { !taken.contains($0) }
    let trials = 6000
    var counts = [Int](repeating: 0, count: 54)
    for trial in 0..<trials {
      for cell in candidateSubset(key(trial), uneven, draws: draws).cells { counts[cell] += 1 }
    }
    let (hit, variance, covariance) = Self.occupancy(cells: 54, draws: draws)
    let statistic = LayerStatistics.chiSquared(
      exchangeable: free.map { counts[$0] }, trials: trials, variance: variance, covariance: covariance)
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: free.count - 1))

    let m = Double(free.count)
    let total = Double(counts.reduce(0, +))
    let deviation = (Double(trials) * (m * variance + m * (m - 1) * covariance)).squareRoot()
    #expect(abs(total - Double(trials) * m * hit) < 4 * deviation)
  }

  /// |S| / |A| = (1 - e^(-gamma d)) (1 - d) / d for draws = gamma |A|.
  @Test(arguments: [0.01, 0.1, 0.4], [0.5, 1, 2])
  func sizeFollowsGammaAndDensity(density: Double, gamma: Double) {
    let rows = 400
    let columns = 500
    let nnz = Int(density * Double(rows * columns))
    let active = randomStructure(key(7), rows, columns, nnz)
    let draws = Int(gamma * Double(nnz))
    let subset = candidateSubset(key(8), active, draws: draws)
    expectCount(subset.columnIndices.count, active: active, draws: draws)
    let ratio = Double(subset.columnIndices.count) / Double(nnz)
    let expected = (1 - exp(-gamma * density)) * (1 - density) / density
    let (_, variance, _) = Self.occupancy(cells: rows * columns, draws: draws)
    #expect(abs(ratio - expected) < 4 * (Double(rows * columns - nnz) * variance).squareRoot() / Double(nnz))
  }

  /// Probability that a cell is drawn, its variance, and the covariance of two cells.
  static func occupancy(cells: Int, draws: Int) -> (hit: Double, variance: Double, covariance: Double) {
    let n = Double(cells)
    let missed = pow(1 - 1 / n, Double(draws))
    return (1 - missed, missed * (1 - missed), pow(1 - 2 / n, Double(draws)) - missed * missed)
  }

  private func expectCount(
    _ count: Int, active: Structure, draws: Int, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let cells = active.rows * active.columns
    let free = Double(cells - active.columnIndices.count)
    let (hit, variance, _) = Self.occupancy(cells: cells, draws: draws)
    let deviation = (free * variance).squareRoot()  // the true one is smaller: cells exclude each other
    #expect(abs(Double(count) - free * hit) <= 4 * deviation + 1, sourceLocation: sourceLocation)
  }
}
