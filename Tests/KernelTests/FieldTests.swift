import EspSampling
import Testing

@Suite struct FieldTests {
  private static let key = esp_random_key(seed: 0x0123_4567_89AB_CDEF, stream: 0x0A00_0003, step: 0)

  private func collect(
    _ isa: esp_isa, rows: Int, columns: Int, levels: Range<UInt32>, tileRows: Int, room: Int, threads: Int32
  ) -> (counts: [UInt64], columns: [UInt32], words: [UInt32]) {
    let tiles = (rows + tileRows - 1) / tileRows
    var counts = [UInt64](repeating: .max, count: rows)
    var indices = [UInt32](repeating: .max, count: tiles * room)
    var words = [UInt32](repeating: .max, count: tiles * room)
    esp_field_collect(
      isa, Self.key, rows, columns, levels.lowerBound, levels.upperBound, tileRows, room, &counts, &indices, &words,
      threads)
    return (counts, indices, words)
  }

  /// By one Philox block a connection, in Random123's own form.
  private func word(_ number: UInt64) -> UInt32 {
    var out = [UInt32](repeating: 0, count: 4)
    esp_philox4x32(
      [UInt32(truncatingIfNeeded: number / 4), UInt32(truncatingIfNeeded: number >> 34), 0, 0x0A00_0003],
      [0x89AB_CDEF, 0x0123_4567], &out)
    return out[Int(number % 4)]
  }

  @Test(arguments: [(1, 1), (7, 5), (3, 31), (4, 32), (5, 33), (9, 100), (66, 9)], [1, 2, 5])
  func collectsWhatHasTheLevel(size: (rows: Int, columns: Int), tileRows: Int) {
    for levels in [0..<UInt32(1) << 31, 1_500_000_000..<UInt32(2_100_000_000), 2_000_000_000..<UInt32(1) << 31, 5..<5] {
      let room = min(size.rows, tileRows) * size.columns
      var expected = [(row: Int, column: UInt32, word: UInt32)]()
      for row in 0..<size.rows {
        for column in 0..<size.columns {
          let word = word(UInt64(row * size.columns + column))
          if levels.contains(word >> 1) { expected.append((row, UInt32(column), word)) }
        }
      }
      for isa in LayerHarness.isas {
        for threads in LayerHarness.threads {
          let found = collect(
            isa, rows: size.rows, columns: size.columns, levels: levels, tileRows: tileRows, room: room,
            threads: threads)
          #expect(found.counts == (0..<size.rows).map { row in UInt64(expected.count { $0.row == row }) })
          for first in stride(from: 0, to: size.rows, by: tileRows) {
            let mine = expected.filter { ($0.row..<$0.row + 1).overlaps(first..<min(size.rows, first + tileRows)) }
            let place = first / tileRows * room
            #expect(Array(found.columns[place..<place + mine.count]) == mine.map(\.column))
            #expect(Array(found.words[place..<place + mine.count]) == mine.map(\.word))
            let isUntouched = found.columns[place + mine.count..<place + room].allSatisfy { $0 == .max }
            #expect(isUntouched)
          }
        }
      }
    }
  }

  /// Where there is too little room, all are counted and no place beyond it is written to.
  @Test func countsBeyondTheRoom() {
    let whole = collect(ESP_ISA_SCALAR, rows: 8, columns: 50, levels: 0..<1 << 31, tileRows: 4, room: 200, threads: 1)
    for isa in LayerHarness.isas {
      let found = collect(isa, rows: 8, columns: 50, levels: 0..<1 << 31, tileRows: 4, room: 70, threads: 2)
      #expect(found.counts == [UInt64](repeating: 50, count: 8))
      #expect(Array(found.words[..<70]) == Array(whole.words[..<70]))
      #expect(Array(found.words[70...]) == Array(whole.words[200..<270]))
    }
  }
}
