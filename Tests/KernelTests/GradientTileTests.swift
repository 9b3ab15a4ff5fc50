import EspSparseMatmul
import TestSupport
import Testing

/// Rectangles of the whole weight gradient, against dense loops in Double.
@Suite struct GradientTileTests {
  /// A whole layer's operands.
  struct Layer {
    let matrix: SparseCase
    let x, d: SparseActivations

    init(rows: Int, columns: Int, samples: Int, lanes: Int) {
      matrix = SparseCase(rows: rows, columns: columns, density: 1, seed: 3)
      // Padding lanes of D are zero, those of X are whatever a layer left there.
      x = SparseActivations(samples: samples, features: columns, lanes: lanes, seed: 5, padding: 1e6)
      d = SparseActivations(samples: samples, features: rows, lanes: lanes, seed: 7)
    }

    /// The rectangle by the kernel, added to `initial`, or into NaN.
    func tile(
      _ isa: esp_isa, rows: Range<Int>, columns: Range<Int>, adding initial: [Float]? = nil, threads: Int32
    ) -> [Float] {
      var g = initial ?? [Float](repeating: .nan, count: rows.count * columns.count)
      g.withUnsafeMutableBufferPointer { g in
        x.storage.withUnsafeBufferPointer { x in
          d.storage.withUnsafeBufferPointer { d in
            var tile = self.tile(rows, columns, x: x.baseAddress!, d: d.baseAddress!, g: g.baseAddress!)
            esp_gradient_tile_f32(isa, &tile, initial == nil ? 0 : 1, threads)
          }
        }
      }
      return g
    }

    func tile(
      _ rows: Range<Int>, _ columns: Range<Int>, x: UnsafePointer<Float>, d: UnsafePointer<Float>,
      g: UnsafeMutablePointer<Float>
    ) -> esp_gradient_tile {
      esp_gradient_tile(
        rows: rows.count, columns: columns.count, blocks: self.x.blocks, lanes: self.x.lanes,
        x: x + columns.lowerBound * self.x.lanes, x_features: matrix.columns, d: d + rows.lowerBound * self.x.lanes,
        d_features: matrix.rows, g: g, g_columns: columns.count)
    }
  }

  @Test(arguments: [(1, 1), (3, 15), (4, 16), (5, 65), (9, 200), (130, 5)])
  func wholeLayersMatchTheOracle(rows: Int, columns: Int) {
    forEachSparseVariant { isa, lanes, samples, context in
      let layer = Layer(rows: rows, columns: columns, samples: samples, lanes: lanes)
      let g = layer.tile(isa, rows: 0..<rows, columns: 0..<columns, threads: 1)
      expectClose(g, DenseOracle.weightGradient(layer.matrix, layer.x, layer.d), context)
      for threads in SparseSweep.threads {
        let again = layer.tile(isa, rows: 0..<rows, columns: 0..<columns, threads: threads)
        expectSameBits(again, g, "\(context), \(threads) threads")
      }
    }
  }

  /// Wherever an element lies in a rectangle, its bits are the same.
  @Test(arguments: [0..<1, 2..<7, 3..<11], [0..<130, 1..<66, 17..<33, 64..<128, 129..<130])
  func rectanglesAreCutOutOfTheWhole(rows: Range<Int>, columns: Range<Int>) {
    forEachSparseVariant { isa, lanes, samples, context in
      let layer = Layer(rows: 11, columns: 130, samples: samples, lanes: lanes)
      let whole = layer.tile(isa, rows: 0..<11, columns: 0..<130, threads: 1)
      let part = layer.tile(isa, rows: rows, columns: columns, threads: 2)
      expectSameBits(part, rows.flatMap { row in columns.map { whole[row * 130 + $0] } }, context)
    }
  }

  /// Beyond 128 samples a tile is added to in parts, up to them at once.
  @Test func sumsAreAddedToWhatIsThere() {
    forEachSparseVariant { isa, lanes, samples, context in
      let layer = Layer(rows: 5, columns: 70, samples: samples, lanes: lanes)
      let before = (0..<350).map { Float($0) / 350 }
      let both = layer.tile(isa, rows: 0..<5, columns: 0..<70, adding: before, threads: 2)
      var expected = DenseOracle.weightGradient(layer.matrix, layer.x, layer.d)
      for (k, value) in before.enumerated() { expected.add(Double(value), to: k) }
      expectClose(both, expected, context)
      guard samples <= 128 else { return }
      let alone = layer.tile(isa, rows: 0..<5, columns: 0..<70, threads: 1)
      expectSameBits(both, zip(before, alone).map { $0 + $1 }, context)
    }
  }

  @Test func noBlocksMeanNoGradient() {
    let layer = Layer(rows: 3, columns: 4, samples: 0, lanes: 8)
    for isa in SparseSweep.isas {
      var g = [Float](repeating: .nan, count: 18)  // rows of six, of which four belong to the rectangle
      g.withUnsafeMutableBufferPointer { g in
        var tile = layer.tile(
          0..<3, 0..<4, x: UnsafePointer(g.baseAddress!), d: UnsafePointer(g.baseAddress!), g: g.baseAddress!)
        tile.g_columns = 6
        esp_gradient_tile_f32(isa, &tile, 0, 2)
      }
      #expect(g.map(\.isNaN) == (0..<18).map { $0 % 6 >= 4 })
    }
  }

  /// An access out of bounds, also between a row's rectangle and the next, ends the test or leaves a trace.
  @Test(arguments: GuardedSide.allCases) func tilesStayInBounds(_ side: GuardedSide) {
    for (rows, columns) in [(1, 1), (5, 33), (4, 64), (6, 131)] {
      forEachSparseVariant { isa, lanes, samples, context in
        let layer = Layer(rows: rows, columns: columns, samples: samples, lanes: lanes)
        let x = GuardedBuffer(layer.x.storage, guarding: side)
        let d = GuardedBuffer(layer.d.storage, guarding: side)
        for wider in [0, 3] {
          let width = columns + wider, count = (rows - 1) * width + columns
          let g = GuardedBuffer([Float](repeating: .nan, count: count), guarding: side)
          var tile = layer.tile(0..<rows, 0..<columns, x: x.base, d: d.base, g: g.base)
          tile.g_columns = width
          for accumulate: Int32 in [0, 1] { esp_gradient_tile_f32(isa, &tile, accumulate, 3) }
          #expect(g.contents.map(\.isNaN) == (0..<count).map { $0 % width >= columns }, "\(context)")
        }
      }
    }
  }
}
