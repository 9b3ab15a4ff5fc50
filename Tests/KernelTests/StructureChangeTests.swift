import EspSparseMatmul
import TestSupport
import Testing

/// esp_csr_apply_change against sets of (row, column).
@Suite struct StructureChangeTests {
  /// A connection in the order of a structure.
  private struct Connection: Hashable, Comparable {
    let row: Int
    let column: Int

    static func < (a: Self, b: Self) -> Bool { (a.row, a.column) < (b.row, b.column) }
  }

  /// What the kernel writes.
  private struct Outcome {
    var status: Int32
    var rowStarts: [UInt64]
    var columnIndices: [UInt32]
    var remap: [UInt32]
    var grownPositions: [UInt32]
  }

  private func apply(_ w: SparseCase, pruned: [UInt32], grown: SparseCase) -> Outcome {
    let n = w.count - pruned.count + grown.count
    var outcome = Outcome(
      status: -1, rowStarts: Array(repeating: .max, count: w.rows + 1), columnIndices: Array(repeating: .max, count: n),
      remap: Array(repeating: 12345, count: n), grownPositions: Array(repeating: .max, count: grown.count))
    outcome.status = w.withStructure { structure in
      grown.withStructure { added in
        esp_csr_apply_change(
          structure, pruned, pruned.count, added, &outcome.rowStarts, &outcome.columnIndices, &outcome.remap,
          &outcome.grownPositions)
      }
    }
    return outcome
  }

  private func connections(_ w: SparseCase) -> [Connection] {
    w.connections.map { Connection(row: $0.row, column: $0.column) }
  }

  @Test(arguments: 0..<8) func randomChangesMatchSets(seed: UInt64) {
    var random = SparseRandom(seed: seed)
    for _ in 0..<500 {
      let rows = Int.random(in: 1...9, using: &random)
      let columns = Int.random(in: 1...33, using: &random)
      let density = [0, 0.1, 0.5, 0.9, 1].randomElement(using: &random)!
      let w = SparseCase(rows: rows, columns: columns, density: density, seed: random.next())
      let old = connections(w)
      let pruneShare = [0, 0.3, 1].randomElement(using: &random)!
      let pruned = old.indices.filter { _ in random.unit() < pruneShare }
      // A connection that is pruned may grow again at once.
      let kept = Set(old).subtracting(pruned.map { old[$0] })
      let growShare = [0, 0.3, 1].randomElement(using: &random)!
      var draw = random
      let grown = SparseCase(rows: rows, columns: columns, seed: 1, name: "grown") { row, column in
        draw.unit() < growShare && !kept.contains(Connection(row: row, column: column))
      }
      expectChange(of: w, pruned: pruned, grown: grown)
    }
  }

  private func expectChange(of w: SparseCase, pruned: [Int], grown: SparseCase) {
    let old = connections(w)
    let added = connections(grown)
    let kept = Set(old).subtracting(pruned.map { old[$0] })
    let new = (kept.union(added)).sorted()
    let outcome = apply(w, pruned: pruned.map { UInt32($0) }, grown: grown)
    #expect(outcome.status == 0)
    #expect(outcome.columnIndices == new.map { UInt32($0.column) })
    #expect(outcome.rowStarts == (0...w.rows).map { row in UInt64(new.count { $0.row < row }) })
    let addedSet = Set(added)
    let oldPosition = Dictionary(uniqueKeysWithValues: old.enumerated().map { ($0.element, UInt32($0.offset)) })
    #expect(outcome.remap == new.map { addedSet.contains($0) ? .max : oldPosition[$0]! })
    #expect(outcome.grownPositions.map { new[Int($0)] } == added)
  }

  @Test func grownPositionsMayBeLeftOut() {
    let w = SparseCase(rows: 3, columns: 5, seed: 1, name: "even") { ($0 + $1) % 2 == 0 }
    let grown = SparseCase(rows: 3, columns: 5, seed: 1, name: "odd") { ($0 + $1) % 2 == 1 }
    var starts = [UInt64](repeating: 0, count: 4)
    var indices = [UInt32](repeating: 0, count: 15)
    var remap = [UInt32](repeating: 0, count: 15)
    let status = w.withStructure { structure in
      grown.withStructure { esp_csr_apply_change(structure, nil, 0, $0, &starts, &indices, &remap, nil) }
    }
    #expect(status == 0)
    #expect(starts == [0, 5, 10, 15])
  }

  @Test func growingAnActiveConnectionIsRefused() {
    let w = SparseCase(rows: 4, columns: 6, density: 0.5, seed: 9)
    for position in 0..<w.count {
      let (again, _) = w.subset { $0 == position }
      #expect(apply(w, pruned: [], grown: again).status == 1)
      #expect(apply(w, pruned: [UInt32(position)], grown: again).status == 0)
    }
  }
}
