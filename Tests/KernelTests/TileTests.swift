import EspSparseMatmul
import TestSupport
import Testing

/// Tiles of a structure, and products that go over them.
@Suite struct TileTests {
  static let structures =
    [(1, 700, 0.5), (37, 130, 0.3), (90, 513, 0.05), (90, 513, 1), (5, 64, 0)].map { rows, columns, density in
      SparseCase(rows: rows, columns: columns, density: density, seed: 43) { $0 % 11 == 7 }
    }
  /// Columns of a tile and rows of a band.
  private var allTiles: [esp_csr_tiles] {
    [(1, 3), (64, 16), (100, 1), (512, 1024)].map { esp_csr_tiles(columns: $0, rows: $1, segments: nil) }
  }

  @Test(arguments: structures) func segmentsHoldEveryConnectionInOrder(_ w: SparseCase) {
    for tiles in allTiles {
      let segments = w.segments(of: tiles, threads: 1)
      for threads in SparseSweep.threads {
        #expect(w.segments(of: tiles, threads: threads).map(numbers) == segments.map(numbers), "\(threads) threads")
      }
      expectEveryConnection(of: w, in: segments, tiles)
    }
  }

  private func numbers(_ segment: esp_csr_segment) -> [Int] {
    [Int(segment.first), Int(segment.row), Int(segment.count)]
  }

  private func expectEveryConnection(of w: SparseCase, in segments: [esp_csr_segment], _ tiles: esp_csr_tiles) {
    let across: Int = (w.columns + tiles.columns - 1) / tiles.columns
    #expect(segments.count == w.rows * across)
    var next: [Int] = w.rowStarts.dropLast().map { Int($0) }
    for first in stride(from: 0, to: w.rows, by: tiles.rows) {
      let rows = min(tiles.rows, w.rows - first)
      for tile in 0..<across {
        let start = first * across + tile * rows
        let here: [[Int]] = segments[start..<start + rows].map(numbers)
        #expect(here.map { $0[1] }.sorted() == Array(0..<rows), "each row once")
        #expect(zip(here, here.dropFirst()).allSatisfy { $0[2] <= $1[2] }, "by ascending count")
        let columns: Range<Int> = tile * tiles.columns..<(tile + 1) * tiles.columns
        for segment in here {
          let row = first + segment[1]
          #expect(segment[0] == next[row], "a row's segments follow on each other")
          next[row] += segment[2]
          #expect((segment[0]..<next[row]).allSatisfy { columns.contains(Int(w.columnIndices[$0])) })
        }
      }
    }
    #expect(next == w.rowStarts.dropFirst().map { Int($0) }, "no connection is left out")
  }

  @Test(arguments: structures) func tilesChangeNoBitOfAProduct(_ w: SparseCase) {
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let base = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 8)
      let bias = SparseActivations(samples: 1, features: w.rows, lanes: 1, seed: 6).storage
      let flat = w.product(isa, x, bias: bias, threads: 1).storage
      var added = base.storage
      w.withStructure {
        let sum = added
        esp_spmm_add_f32(isa, $0, w.values, bias, sum, 0, x.blocks, lanes, x.storage, &added, 1)
      }
      for tiles in allTiles {
        for threads in SparseSweep.threads {
          let what = "\(context), tiles of \(tiles.columns) in bands of \(tiles.rows), \(threads) threads"
          expectSameBits(
            w.product(isa, x, bias: bias, addedTo: nil, tiles: tiles, threads: threads).storage, flat, what)
          expectSameBits(
            w.product(isa, x, bias: bias, addedTo: base, tiles: tiles, threads: threads).storage, added, what)
        }
      }
    }
  }

  @Test func tilesAreChosenWhereTheyAreWorthIt() {
    #expect(esp_csr_choose_tiles(2048, 2048, 0).columns == 0)
    #expect(esp_csr_choose_tiles(0, 2048, 0).columns == 0)
    #expect(esp_csr_choose_tiles(2048, 2048, 2048 * 41).columns == 0, "2 % dense: a row has too few in a tile")
    #expect(esp_csr_choose_tiles(512, 512, 512 * 51).columns == 0, "two tiles: the inputs are near enough")
    for (rows, columns, nnz) in [(2048, 2048, 2048 * 205), (4096, 4096, 4096 * 1638), (10, 1 << 20, 10 << 19)] {
      let tiles = esp_csr_choose_tiles(rows, columns, UInt64(nnz))
      #expect((128...Int(ESP_TILE_COLUMNS_MOST)).contains(tiles.columns) && tiles.segments == nil)
      #expect((1...Int(ESP_BAND_ROWS_MOST)).contains(tiles.rows))
      let segments = rows * ((columns + tiles.columns - 1) / tiles.columns)
      #expect(segments * 20 <= nnz, "less than half a byte a connection")
    }
  }
}
