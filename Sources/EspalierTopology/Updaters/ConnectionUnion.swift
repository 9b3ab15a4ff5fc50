import EspalierCore

/// Some connections of several disjoint sets as one set, in order of (row, column), and where each comes from.
struct ConnectionUnion {
  let structure: SparseStructure
  /// The set of each connection.
  private let sources: MeteredBuffer<UInt8>
  /// Its position in that set.
  private let positions: MeteredBuffer<UInt32>
  private let site: WeightSite
  private let meter: AllocationMeter

  /// - Parameters:
  ///   - picked: ascending positions in each of `sets`.
  /// - Complexity: O(sets * (connections picked + rows)).
  init(of sets: [SparseStructure], picked: [Selected], site: WeightSite, meter: AllocationMeter) {
    let count = picked.reduce(0) { $0 + $1.count }
    let starts = MeteredBuffer<UInt64>(count: site.rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    let sources = MeteredBuffer<UInt8>(count: count, tag: .selection, site: site, meter: meter)
    let positions = MeteredBuffer<UInt32>(count: count, tag: .selection, site: site, meter: meter)
    var cursors = sets.map { _ in 0 }
    var next = 0
    starts.pointer[0] = 0
    for row in 0..<site.rows {
      while true {
        var first: (set: Int, position: UInt32, column: UInt32)?
        for (number, set) in sets.enumerated() where cursors[number] < picked[number].count {
          let position = picked[number].indices.pointer[cursors[number]]
          guard UInt64(position) < set.rowStarts.pointer[row + 1] else { continue }
          let column = set.columnIndices.pointer[Int(position)]
          if first.map({ column < $0.column }) ?? true { first = (number, position, column) }
        }
        guard let first else { break }
        indices.pointer[next] = first.column
        sources.pointer[next] = UInt8(first.set)
        positions.pointer[next] = first.position
        next += 1
        cursors[first.set] += 1
      }
      starts.pointer[row + 1] = UInt64(next)
    }
    structure = SparseStructure(rows: site.rows, columns: site.columns, rowStarts: starts, columnIndices: indices)
    self.sources = sources
    self.positions = positions
    self.site = site
    self.meter = meter
  }

  /// The numbers that the connections had in their sets' buffers; zero where a set has none.
  func gathered(_ buffers: [MeteredBuffer<Float>?], tag: AllocationTag) -> MeteredBuffer<Float> {
    let result = MeteredBuffer<Float>(count: structure.count, tag: tag, site: site, meter: meter)
    for i in 0..<structure.count {
      result.pointer[i] = buffers[Int(sources.pointer[i])].map { $0.pointer[Int(positions.pointer[i])] } ?? 0
    }
    return result
  }
}

extension Selected {
  /// Those of `self` that are not in `others`, which is a part of it; both ascending.
  func subtracting(_ others: Selected, site: WeightSite, meter: AllocationMeter) -> Selected {
    let kept = MeteredBuffer<UInt32>(count: count - others.count, tag: .selection, site: site, meter: meter)
    var (next, passed) = (0, 0)
    for place in 0..<count {
      let index = indices.pointer[place]
      if passed < others.count, others.indices.pointer[passed] == index {
        passed += 1
      } else {
        kept.pointer[next] = index
        next += 1
      }
    }
    return Selected(indices: kept, count: next)
  }

  /// 0 ..< count
  static func all(_ count: Int, site: WeightSite, meter: AllocationMeter) -> Selected {
    let indices = MeteredBuffer<UInt32>(count: count, tag: .selection, site: site, meter: meter)
    for i in 0..<count { indices.pointer[i] = UInt32(i) }
    return Selected(indices: indices, count: count)
  }
}
