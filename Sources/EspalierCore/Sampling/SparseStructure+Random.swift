import EspSampling

extension SparseStructure {
  /// A uniformly random graph with exactly `count` of rows * columns possible connections: G(n, M).
  ///
  /// - Precondition: 0 <= count <= rows * columns.
  /// - Complexity: O(count + rows)
  public static func random(
    name: String, rows: Int, columns: Int, count: Int, stream: CounterRandom.Stream, meter: AllocationMeter
  ) -> SparseStructure {
    precondition(count >= 0 && count <= rows * columns)
    let site = WeightSite(layer: name, rows: rows, columns: columns, connections: count)
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    let drawn = min(count, rows * columns - count)
    let keys = MeteredBuffer<UInt64>(count: drawn, tag: .selection, site: site, meter: meter)
    let workspace = MeteredBuffer<UInt64>(count: drawn, tag: .selection, site: site, meter: meter)
    defer { withExtendedLifetime((keys, workspace)) {} }
    esp_random_structure(
      stream.key, rows, columns, count, keys.pointer, workspace.pointer, starts.pointer, indices.pointer)
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }

  /// The distinct connections among `draws` pairs (row, column) that this structure lacks (GSE, Algorithm 2).
  ///
  /// - Complexity: O(draws + nnz + rows), up to sorting within rows.
  public func randomInactiveSubset(
    draws: Int, from distribution: ConnectionDistribution = .uniform, stream: CounterRandom.Stream, site: WeightSite,
    meter: AllocationMeter
  ) -> SparseStructure {
    let room = min(draws, rows * columns - count)
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: room, tag: .candidates, site: site, meter: meter)
    let rowCounts = MeteredBuffer<UInt32>(count: rows, tag: .candidates, site: site, meter: meter)
    let scratch = MeteredBuffer<UInt32>(count: columns, tag: .candidates, site: site, meter: meter)
    defer { withExtendedLifetime((rowCounts, scratch)) {} }
    withUnsafePointer(to: csr) { active in
      distribution.withKernels { outputs, inputs in
        _ = esp_candidate_subset(
          stream.key, active, outputs, inputs, UInt64(draws), rowCounts.pointer, scratch.pointer, starts.pointer,
          indices.pointer)
      }
    }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }

  /// The first `count` distinct connections of a sequence of pairs (row, column) that this structure lacks; fewer where so few
  /// pairs hold nearly all of the distribution that 64 rounds of drawing do not find them.
  ///
  /// - Precondition: count <= rows * columns - nnz.
  /// - Complexity: O(count log(nnz / rows) + rows) a round.
  public func randomInactive(
    exactly count: Int, from distribution: ConnectionDistribution, stream: CounterRandom.Stream, site: WeightSite,
    meter: AllocationMeter
  ) -> SparseStructure {
    precondition(count >= 0 && count <= rows * columns - self.count)
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .candidates, site: site, meter: meter)
    let keys = MeteredBuffer<UInt64>(count: count, tag: .candidates, site: site, meter: meter)
    let workspace = MeteredBuffer<UInt64>(count: count, tag: .candidates, site: site, meter: meter)
    defer { withExtendedLifetime((keys, workspace)) {} }
    withUnsafePointer(to: csr) { active in
      distribution.withKernels { outputs, inputs in
        _ = esp_exact_subset(
          stream.key, active, outputs, inputs, count, keys.pointer, workspace.pointer, starts.pointer, indices.pointer)
      }
    }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }

  /// Exactly `count` uniformly random connections that this structure lacks.
  ///
  /// - Precondition: count <= rows * columns - nnz.
  /// - Complexity: O(count + nnz + rows)
  public func randomInactive(
    count: Int, stream: CounterRandom.Stream, site: WeightSite, meter: AllocationMeter
  ) -> SparseStructure {
    precondition(count >= 0 && count <= rows * columns - self.count)
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .candidates, site: site, meter: meter)
    let keys = MeteredBuffer<UInt64>(count: count, tag: .candidates, site: site, meter: meter)
    let workspace = MeteredBuffer<UInt64>(count: count, tag: .candidates, site: site, meter: meter)
    defer { withExtendedLifetime((keys, workspace)) {} }
    withUnsafePointer(to: csr) {
      esp_random_inactive(
        stream.key, $0, count, keys.pointer, workspace.pointer, starts.pointer, indices.pointer)
    }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }

  /// The connections at the given ascending positions, as a structure of their own. O(positions + rows).
  public func subset(
    positions: UnsafeBufferPointer<UInt32>, site: WeightSite, meter: AllocationMeter
  ) -> SparseStructure {
    let starts = MeteredBuffer<UInt64>.zeros(count: rows + 1, tag: .selection, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: positions.count, tag: .selection, site: site, meter: meter)
    var row = 0
    for (i, position) in positions.enumerated() {
      while rowStarts.pointer[row + 1] <= UInt64(position) { row += 1 }
      starts.pointer[row + 1] += 1
      indices.pointer[i] = columnIndices.pointer[Int(position)]
    }
    for row in 0..<rows { starts.pointer[row + 1] += starts.pointer[row] }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }
}
