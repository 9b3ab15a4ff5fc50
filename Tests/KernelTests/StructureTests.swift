import EspSparseMatmul
import TestSupport
import Testing

/// Checks, the transpose and the lookup of rows, against plain sets of (row, column).
@Suite struct StructureTests {
  static let sweep =
    SparseCase.sweep(rows: [1, 8, 9], columns: [9, 36], densities: [0, 0.2, 1], seed: 41)
    + [SparseCase(rows: 0, columns: 18, density: 1, seed: 1)]

  /// A matrix by its (row, column) and values, and nothing else.
  private func entries(_ w: SparseCase) -> [[Int]: Float] {
    Dictionary(uniqueKeysWithValues: zip(w.connections.map { [$0.row, $0.column] }, w.values))
  }

  @Test(arguments: sweep) func transposeFlipsEveryTap(_ w: SparseCase) {
    for taps in [1, 3, 9] {
      let (transposed, permutation) = w.transposed(taps: taps)
      let expected = entries(w).map { key, value in
        ([key[1] / taps, key[0] * taps + taps - 1 - key[1] % taps], value)
      }
      #expect(entries(transposed) == Dictionary(uniqueKeysWithValues: expected))
      #expect(status(of: transposed) == ESP_CSR_OK)
      #expect(permutation.sorted() == (0..<UInt32(w.count)).map { $0 })
      let (back, _) = transposed.transposed(taps: taps)
      #expect(back.rowStarts == w.rowStarts && back.columnIndices == w.columnIndices && back.values == w.values)
    }
  }

  @Test(arguments: sweep) func rowOfFindsEveryConnection(_ w: SparseCase) {
    w.withStructure { structure in
      for (k, connection) in w.connections.enumerated() {
        #expect(esp_csr_row_of(structure, UInt64(k)) == connection.row)
      }
    }
  }

  @Test(arguments: sweep) func soundStructuresPass(_ w: SparseCase) {
    var row = 12345
    #expect(w.withStructure { esp_csr_check($0, &row) } == ESP_CSR_OK)
    #expect(row == 12345, "untouched")
  }

  /// A damaged copy of rows {0, 2}, {}, {1, 2, 3} of 4 columns, and what the check must say about it.
  struct Damage: Sendable, CustomStringConvertible {
    let description: String
    var rowStarts: [UInt64] = [0, 2, 2, 5]
    var columnIndices: [UInt32] = [0, 2, 1, 2, 3]
    var columns = 4
    let status: esp_csr_status.RawValue
    let row: Int
  }

  static let damages = [
    Damage(
      description: "first row start is not 0", rowStarts: [1, 2, 2, 5], status: ESP_CSR_BAD_ROW_STARTS.rawValue, row: 0),
    Damage(
      description: "row starts descend", rowStarts: [0, 2, 1, 5], status: ESP_CSR_BAD_ROW_STARTS.rawValue, row: 1),
    Damage(
      description: "row starts run away and come back", rowStarts: [0, 1 << 31, 2, 5],
      status: ESP_CSR_BAD_ROW_STARTS.rawValue, row: 1),
    Damage(
      description: "column out of range", columnIndices: [0, 2, 1, 2, 4],
      status: ESP_CSR_COLUMN_OUT_OF_RANGE.rawValue, row: 2),
    Damage(
      description: "column out of range at once", columnIndices: [9, 2, 1, 2, 3],
      status: ESP_CSR_COLUMN_OUT_OF_RANGE.rawValue, row: 0),
    Damage(
      description: "column twice", columnIndices: [0, 2, 1, 1, 3],
      status: ESP_CSR_COLUMNS_NOT_ASCENDING.rawValue, row: 2),
    Damage(
      description: "columns descend", columnIndices: [2, 0, 1, 2, 3],
      status: ESP_CSR_COLUMNS_NOT_ASCENDING.rawValue, row: 0),
    Damage(
      description: "too many connections", rowStarts: [0, 2, 1 << 32 - 1, 1 << 32 - 1],
      status: ESP_CSR_TOO_MANY.rawValue, row: 1),
    Damage(description: "too many columns", columns: 1 << 32 + 1, status: ESP_CSR_TOO_MANY.rawValue, row: 0),
  ]

  @Test(arguments: damages) func damageIsFound(_ damage: Damage) {
    let w = SparseCase(
      rows: 3, columns: damage.columns, rowStarts: damage.rowStarts, columnIndices: damage.columnIndices, values: [],
      name: damage.description)
    var row = -1
    #expect(w.withStructure { esp_csr_check($0, &row) }.rawValue == damage.status)
    #expect(row == damage.row)
  }

  private func status(of w: SparseCase) -> esp_csr_status {
    var row = 0
    return w.withStructure { esp_csr_check($0, &row) }
  }

  @Test func remapFillsWhatHasGrown() {
    let grown = UInt32.max
    var out = [Float](repeating: .nan, count: 5)
    for threads in SparseSweep.threads {
      esp_remap_f32([10, 20, 30], [2, grown, 0, 0, grown], 5, -1, &out, threads)
      #expect(out == [30, -1, 10, 10, -1])
    }
  }
}
