import EspSparseMatmul
import TestSupport

/// What the sparse kernels' tests sweep over.
enum SparseSweep {
  /// Every instruction set that this processor runs.
  static let isas = (0..<ESP_ISA_COUNT.rawValue).map { esp_isa(rawValue: $0) }.filter { esp_isa_available($0) == 1 }
  static let lanes = [1, 8, 16, 32]
  static let threads: [Int32] = [1, 2, 3, 5]
  /// One, one below a block of 32, and one above four of them, which kernels take together.
  static let samples = [1, 31, 129]
}

/// Calls `body` for every instruction set, number of lanes and number of samples, with a description.
func forEachSparseVariant(_ body: (esp_isa, _ lanes: Int, _ samples: Int, String) -> Void) {
  for isa in SparseSweep.isas {
    for lanes in SparseSweep.lanes {
      for samples in SparseSweep.samples {
        body(isa, lanes, samples, "\(String(cString: esp_isa_name(isa))), \(lanes) lanes, \(samples) samples")
      }
    }
  }
}

extension SparseCase {
  /// Calls `body` with the structure.
  func withStructure<Result>(_ body: (UnsafePointer<esp_csr>) throws -> Result) rethrows -> Result {
    try rowStarts.withUnsafeBufferPointer { starts in
      try columnIndices.withUnsafeBufferPointer { indices in
        var structure = esp_csr(
          rows: rows, columns: columns, row_starts: starts.baseAddress, column_indices: indices.baseAddress,
          tiles: esp_csr_tiles())
        return try body(&structure)
      }
    }
  }

  /// The segments of these tiles, by the kernel, into segments that belong to no row.
  func segments(of tiles: esp_csr_tiles, threads: Int32) -> [esp_csr_segment] {
    withStructure {
      var segments = [esp_csr_segment](
        repeating: esp_csr_segment(first: .max, row: .max, count: .max), count: esp_csr_segment_count($0, tiles))
      esp_csr_fill_segments($0, tiles, &segments, threads)
      return segments
    }
  }

  /// Y + W X + bias by the kernel, tile by tile.
  func product(
    _ isa: esp_isa, _ x: SparseActivations, bias: [Float]?, addedTo base: SparseActivations?, tiles: esp_csr_tiles,
    threads: Int32
  ) -> SparseActivations {
    var y = base ?? SparseActivations(samples: x.samples, features: rows, lanes: x.lanes, filler: .nan)
    segments(of: tiles, threads: threads).withUnsafeBufferPointer { segments in
      withStructure {
        var structure = $0.pointee
        structure.tiles = esp_csr_tiles(columns: tiles.columns, rows: tiles.rows, segments: segments.baseAddress)
        y.storage.withUnsafeMutableBufferPointer { y in
          esp_spmm_add_f32(
            isa, &structure, values, bias, base == nil ? nil : y.baseAddress, 1, x.blocks, x.lanes, x.storage,
            y.baseAddress,
            threads)
        }
      }
    }
    return y
  }

  /// W X + bias by the kernel, into a tensor of NaN.
  func product(_ isa: esp_isa, _ x: SparseActivations, bias: [Float]?, threads: Int32) -> SparseActivations {
    var y = SparseActivations(samples: x.samples, features: rows, lanes: x.lanes, filler: .nan)
    withStructure { esp_spmm_f32(isa, $0, values, bias, x.blocks, x.lanes, x.storage, &y.storage, threads) }
    return y
  }

  /// The weight gradient by the kernel, into NaN.
  func weightGradient(_ isa: esp_isa, _ x: SparseActivations, _ d: SparseActivations, threads: Int32) -> [Float] {
    var g = [Float](repeating: .nan, count: count)
    withStructure { esp_sddmm_f32(isa, $0, x.blocks, x.lanes, x.storage, d.storage, &g, threads) }
    return g
  }

  /// Both gradients by the kernel, added to `base` and `initial`, or into NaN; G in this matrix's order.
  func gradients(
    _ isa: esp_isa, _ x: SparseActivations, _ d: SparseActivations, base: SparseActivations? = nil,
    adding initial: [Float]? = nil, threads: Int32
  ) -> (dx: SparseActivations, g: [Float]) {
    let (transposed, permutation) = transposed()
    var dx = SparseActivations(samples: x.samples, features: columns, lanes: x.lanes, filler: .nan)
    var inOrder = permutation.map { initial?[Int($0)] ?? .nan }
    var g = [Float](repeating: .nan, count: count)
    transposed.withStructure {
      esp_linear_backward_f32(
        isa, $0, transposed.values, x.blocks, x.lanes, x.storage, d.storage, base?.storage, &dx.storage,
        initial == nil ? 0 : 1, &inOrder, threads)
    }
    esp_unpermute_f32(inOrder, permutation, count, &g, threads)
    return (dx, g)
  }

  /// The transposed matrix, and for each of its connections the position in this one.
  func transposed(taps: Int = 1) -> (matrix: SparseCase, permutation: [UInt32]) {
    var starts = [UInt64](repeating: .max, count: columns / taps + 1)
    var indices = [UInt32](repeating: .max, count: count)
    var permutation = [UInt32](repeating: .max, count: count)
    var permuted = [Float](repeating: .nan, count: count)
    withStructure { esp_csr_transpose($0, taps, &starts, &indices, &permutation) }
    esp_permute_f32(values, permutation, count, &permuted, 2)
    let matrix = SparseCase(
      rows: columns / taps, columns: rows * taps, rowStarts: starts, columnIndices: indices, values: permuted,
      name: name + ", transposed")
    return (matrix, permutation)
  }

  /// The rows from `first` on, alone.
  func suffix(from first: Int) -> SparseCase {
    let start = rowStarts[first]
    return SparseCase(
      rows: rows - first, columns: columns, rowStarts: rowStarts[first...].map { $0 - start },
      columnIndices: Array(columnIndices[Int(start)...]), values: Array(values[Int(start)...]), name: name)
  }

  /// The connections whose position `keep` accepts, alone, and their positions.
  func subset(_ keep: (Int) -> Bool) -> (matrix: SparseCase, positions: [Int]) {
    let positions = (0..<count).filter(keep)
    let starts = rowStarts.map { start in UInt64(positions.prefix { UInt64($0) < start }.count) }
    let matrix = SparseCase(
      rows: rows, columns: columns, rowStarts: starts, columnIndices: positions.map { columnIndices[$0] },
      values: positions.map { values[$0] }, name: name + ", subset")
    return (matrix, positions)
  }
}

/// Sum over samples and features of a * b, in Double.
func innerProduct(_ a: SparseActivations, _ b: SparseActivations) -> Double {
  zip(a.unpadded, b.unpadded).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}
