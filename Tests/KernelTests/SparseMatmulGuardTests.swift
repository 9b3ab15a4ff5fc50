import EspSparseMatmul
import TestSupport
import Testing

/// Every buffer of every kernel with an inaccessible page next to it: an access out of bounds ends the test process.
@Suite struct SparseMatmulGuardTests {
  @Test(arguments: GuardedSide.allCases) func productsStayInBounds(_ side: GuardedSide) {
    for w in SparseCase.sweep(rows: [1, 9], columns: [1, 33], densities: [0, 0.3, 1], seed: 3) {
      forEachSparseVariant { isa, lanes, samples, context in
        let guarded = GuardedStructure(w, side)
        let input = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
        let x = GuardedBuffer(input.storage, guarding: side)
        let bias = GuardedBuffer([Float](repeating: 1, count: w.rows), guarding: side)
        let y = GuardedBuffer([Float](repeating: .nan, count: input.blocks * w.rows * lanes), guarding: side)
        let g = GuardedBuffer([Float](repeating: .nan, count: w.count), guarding: side)
        for threads: Int32 in [1, 3] {
          esp_spmm_f32(
            isa, &guarded.csr, guarded.values.base, bias.base, input.blocks, lanes, x.base, y.base, threads)
          esp_sddmm_f32(isa, &guarded.csr, input.blocks, lanes, x.base, y.base, g.base, threads)
        }
        #expect(!(y.contents + g.contents).contains { $0.isNaN }, "\(context)")
      }
    }
  }

  @Test(arguments: GuardedSide.allCases) func tiledProductsStayInBounds(_ side: GuardedSide) {
    for w in SparseCase.sweep(rows: [1, 9], columns: [33, 200], densities: [0, 0.3, 1], seed: 3) {
      let tiles = esp_csr_tiles(columns: 32, rows: 4, segments: nil)
      forEachSparseVariant { isa, lanes, samples, context in
        let guarded = GuardedStructure(w, side, tiles: tiles)
        let input = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
        let x = GuardedBuffer(input.storage, guarding: side)
        let y = GuardedBuffer([Float](repeating: .nan, count: input.blocks * w.rows * lanes), guarding: side)
        for threads: Int32 in [1, 3] {
          esp_csr_fill_segments(&guarded.csr, tiles, guarded.segments.base, threads)
          esp_spmm_f32(isa, &guarded.csr, guarded.values.base, nil, input.blocks, lanes, x.base, y.base, threads)
        }
        #expect(!y.contents.contains { $0.isNaN }, "\(context)")
      }
    }
  }

  @Test(arguments: GuardedSide.allCases) func gradientsStayInBounds(_ side: GuardedSide) {
    for w in SparseCase.sweep(rows: [1, 9], columns: [1, 33], densities: [0, 0.3, 1], seed: 3) {
      let (transposed, order) = w.transposed()
      forEachSparseVariant { isa, lanes, samples, context in
        let guarded = GuardedStructure(transposed, side)
        let input = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
        let x = GuardedBuffer(input.storage, guarding: side)
        let d = GuardedBuffer(
          SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7).storage, guarding: side)
        let dx = GuardedBuffer([Float](repeating: .nan, count: input.storage.count), guarding: side)
        let g = GuardedBuffer([Float](repeating: .nan, count: w.count), guarding: side)
        let restored = GuardedBuffer([Float](repeating: .nan, count: w.count), guarding: side)
        let permutation = GuardedBuffer(order, guarding: side)
        for threads: Int32 in [1, 3] {
          esp_linear_backward_f32(
            isa, &guarded.csr, guarded.values.base, input.blocks, lanes, x.base, d.base, nil, dx.base, 0, g.base,
            threads)
          esp_unpermute_f32(g.base, permutation.base, w.count, restored.base, threads)
        }
        #expect(!(dx.contents + restored.contents).contains { $0.isNaN }, "\(context)")
      }
    }
  }

  @Test(arguments: GuardedSide.allCases) func structureOperationsStayInBounds(_ side: GuardedSide) {
    func buffer<Element: BitwiseCopyable>(_ element: Element, _ count: Int) -> GuardedBuffer<Element> {
      GuardedBuffer([Element](repeating: element, count: count), guarding: side)
    }
    for w in SparseCase.sweep(rows: [1, 9], columns: [9, 36], densities: [0, 0.3, 1], seed: 3) {
      let guarded = GuardedStructure(w, side)
      for taps in [1, 9] {
        let starts = buffer(UInt64(0), w.columns / taps + 1)
        let indices = buffer(UInt32(0), w.count)
        let permutation = buffer(UInt32(0), w.count)
        let permuted = buffer(Float.nan, w.count)
        esp_csr_transpose(&guarded.csr, taps, starts.base, indices.base, permutation.base)
        esp_permute_f32(guarded.values.base, permutation.base, w.count, permuted.base, 2)
      }
      var row = 0
      #expect(esp_csr_check(&guarded.csr, &row) == ESP_CSR_OK)
      for k in 0..<w.count { _ = esp_csr_row_of(&guarded.csr, UInt64(k)) }
      let rest = SparseCase(rows: w.rows, columns: w.columns, seed: 8, name: "inactive") { row, column in
        w.dense[row * w.columns + column] == nil && (row + column) % 2 == 0
      }
      let grown = GuardedStructure(rest, side)
      let pruned = GuardedBuffer((0..<w.count).filter { $0 % 3 == 0 }.map { UInt32($0) }, guarding: side)
      let n = w.count - pruned.count + rest.count
      let starts = buffer(UInt64(0), w.rows + 1)
      let indices = buffer(UInt32(0), n)
      let remap = buffer(UInt32(0), n)
      let positions = buffer(UInt32(0), rest.count)
      let moved = buffer(Float.nan, n)
      let status = esp_csr_apply_change(
        &guarded.csr, pruned.base, pruned.count, &grown.csr, starts.base, indices.base, remap.base, positions.base)
      #expect(status == 0)
      esp_remap_f32(guarded.values.base, remap.base, n, 0, moved.base, 2)
      #expect(!moved.contents.contains { $0.isNaN })
    }
  }
}

/// A sparse matrix in guarded memory.
final class GuardedStructure {
  var csr: esp_csr
  let values: GuardedBuffer<Float>
  private let rowStarts: GuardedBuffer<UInt64>
  private let columnIndices: GuardedBuffer<UInt32>
  /// To be filled; none without tiles.
  let segments: GuardedBuffer<esp_csr_segment>

  init(_ w: SparseCase, _ side: GuardedSide, tiles: esp_csr_tiles = esp_csr_tiles()) {
    values = GuardedBuffer(w.values, guarding: side)
    rowStarts = GuardedBuffer(w.rowStarts, guarding: side)
    columnIndices = GuardedBuffer(w.columnIndices, guarding: side)
    csr = esp_csr(
      rows: w.rows, columns: w.columns, row_starts: rowStarts.base, column_indices: columnIndices.base, tiles: tiles)
    let count = tiles.columns == 0 ? 0 : esp_csr_segment_count(&csr, tiles)
    segments = GuardedBuffer([esp_csr_segment](repeating: esp_csr_segment(), count: count), guarding: side)
    if count > 0 { csr.tiles.segments = UnsafePointer(segments.base) }
  }
}
