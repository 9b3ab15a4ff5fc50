import EspSampling

/// Which weights of a layer live, one bit a weight: for methods whose weights exist before they are chosen from, and for those that are dense
/// by nature.
///
/// rows * columns / 64 words: a thirty-second of the dense weights, and more than always-sparse training may hold, so that the meter knows it
/// by a tag of its own.
public final class ConnectionMask {
  /// Outputs, or output channels.
  public let rows: Int
  /// Inputs: channels * kernel height * width.
  public let columns: Int
  /// [rows, ceil(columns / 64)], column i of a row in bit i % 64.
  public let words: MeteredBuffer<UInt64>
  fileprivate let wordsInRow: Int

  /// A mask under which all weights live.
  public init(rows: Int, columns: Int, site: WeightSite, meter: AllocationMeter) {
    self.rows = rows
    self.columns = columns
    wordsInRow = (columns + 63) / 64
    words = MeteredBuffer(count: rows * wordsInRow, tag: .mask, site: site, meter: meter)
    words.buffer.update(repeating: .max)
    guard columns % 64 != 0 else { return }
    for row in 0..<rows { words.pointer[(row + 1) * wordsInRow - 1] = 1 << UInt64(columns % 64) - 1 }
  }

  /// Number of live weights. O(rows * columns / 64)
  public var count: Int { words.buffer.reduce(0) { $0 + $1.nonzeroBitCount } }

  /// Whether a weight lives.
  public subscript(row: Int, column: Int) -> Bool {
    words.pointer[row * wordsInRow + column / 64] >> UInt64(column % 64) & 1 != 0
  }

  /// Lets all weights of a row die.
  public func clear(row: Int) {
    (words.pointer + row * wordsInRow).update(repeating: 0, count: wordsInRow)
  }

  /// Lets one weight live.
  public func insert(row: Int, column: Int) {
    words.pointer[row * wordsInRow + column / 64] |= 1 << UInt64(column % 64)
  }

  /// Sets the dead weights' places of `values` [rows, columns] to zero.
  public func clear(_ values: UnsafeMutablePointer<Float>) {
    for row in 0..<rows {
      for word in 0..<wordsInRow {
        var dead = ~words.pointer[row * wordsInRow + word]
        while dead != 0 {
          let column = word * 64 + dead.trailingZeroBitCount
          guard column < columns else { break }
          values[row * columns + column] = 0
          dead &= dead - 1
        }
      }
    }
  }
}

extension ConnectionMask {
  /// Lets only the weights at ascending `places` of a tile live, of those in its rows.
  public func keep(_ places: UnsafeBufferPointer<UInt32>, of tile: ScoreTile) {
    for row in tile.rows { clear(row: row) }
    var row = 0
    for place in places {
      while tile.rowStarts.pointer[row + 1] <= UInt64(place) { row += 1 }
      insert(row: tile.rows.lowerBound + row, column: Int(tile.columnIndices.pointer[Int(place)]))
    }
  }
}

extension ConnectionMask {
  /// Numbers of rows and of columns without a live weight.
  public var emptyLines: (rows: Int, columns: Int) {
    var used = [UInt64](repeating: 0, count: wordsInRow)
    var emptyRows = 0
    for row in 0..<rows {
      var any: UInt64 = 0
      for word in 0..<wordsInRow {
        let bits = words.pointer[row * wordsInRow + word]
        any |= bits
        used[word] |= bits
      }
      if any == 0 { emptyRows += 1 }
    }
    return (emptyRows, columns - used.reduce(0) { $0 + $1.nonzeroBitCount })
  }

  /// Exchanges the living and the dead.
  public func invert() {
    for row in 0..<rows {
      for word in 0..<wordsInRow {
        let place = row * wordsInRow + word
        words.pointer[place] = ~words.pointer[place]
        if word == wordsInRow - 1, columns % 64 != 0 { words.pointer[place] &= 1 << UInt64(columns % 64) - 1 }
      }
    }
  }
}
