import EspalierCore

/// Which connections of a layer a run begins with, given how many.
public enum InitialGraph: Sendable, Hashable {
  /// Any of them alike: G(n, M).
  case random
  /// Watts & Strogatz (Nature 393, 1998), made bipartite. Inputs and outputs lie evenly on two rings, one above the other; each output is connected to its
  /// nearest inputs, which are neighbours on their ring. Then each connection is given, with the probability `rewiring`, another input in
  /// place of its own, any of those alike that the output is not connected to.
  ///
  /// Outputs share the connections as evenly as can be, so fan-ins differ by one at most and rewiring keeps them. A convolution's inputs
  /// are (channel, row, column of the kernel), in this order. Time O(connections log(fan-in) + rows + columns), and
  /// O(columns) for each rewired connection of layers that are nearly dense.
  case smallWorld(rewiring: Double)
}

extension SparseStructure {
  /// A layer's first structure, with exactly `count` connections.
  public static func initial(
    _ graph: InitialGraph, _ layer: SparseLayerShape, count: Int, index: Int, random: CounterRandom,
    meter: AllocationMeter
  ) -> SparseStructure {
    switch graph {
    case .random:
      .random(layer, count: count, stream: random.stream(.topology, layer: index), meter: meter)
    case .smallWorld(let rewiring):
      .smallWorld(
        layer, count: count, rewiring: rewiring, stream: random.stream(.smallWorld, layer: index), meter: meter)
    }
  }

  private static func smallWorld(
    _ layer: SparseLayerShape, count: Int, rewiring: Double, stream: CounterRandom.Stream, meter: AllocationMeter
  ) -> SparseStructure {
    let (rows, columns) = (layer.rows, layer.columns)
    let site = WeightSite(layer: layer.name, rows: rows, columns: columns, connections: count)
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    let isUsed = MeteredBuffer<UInt8>.zeros(count: columns, tag: .selection, site: site, meter: meter)
    starts.pointer[0] = 0
    for row in 0..<rows {
      let (first, end) = (row * count / rows, (row + 1) * count / rows)
      starts.pointer[row + 1] = UInt64(end)
      let centre = (2 * row + 1) * columns / (2 * rows)
      let left = centre + columns - (end - first) / 2
      for position in first..<end {
        let column = (left + position - first) % columns
        indices.pointer[position] = UInt32(column)
        isUsed.pointer[column] = 1
      }
      if end - first < columns {
        for position in first..<end where stream.unit(at: UInt64(position) << 8) < rewiring {
          let column = unusedColumn(isUsed, free: columns - (end - first), stream, position)
          isUsed.pointer[Int(indices.pointer[position])] = 0
          isUsed.pointer[column] = 1
          indices.pointer[position] = UInt32(column)
        }
      }
      for position in first..<end { isUsed.pointer[Int(indices.pointer[position])] = 0 }
      var own = UnsafeMutableBufferPointer(rebasing: indices.buffer[first..<end])
      own.sort()
    }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }

  /// One of the `free` columns that are not used, any alike: by drawing until one is found, or by counting where that takes too long.
  private static func unusedColumn(
    _ isUsed: MeteredBuffer<UInt8>, free: Int, _ stream: CounterRandom.Stream, _ position: Int
  ) -> Int {
    for attempt in 1...32 {
      let column = Int(stream.below(UInt64(isUsed.count), at: UInt64(position) << 8 + UInt64(attempt)))
      if isUsed.pointer[column] == 0 { return column }
    }
    var rank = Int(stream.below(UInt64(free), at: UInt64(position) << 8 + 33))
    var column = 0
    while isUsed.pointer[column] != 0 || rank > 0 {
      if isUsed.pointer[column] == 0 { rank -= 1 }
      column += 1
    }
    return column
  }
}

extension CounterRandom.Stream {
  /// A uniform number of [0, 1).
  fileprivate func unit(at index: UInt64) -> Double { Double(bits(index) >> 11) * 0x1p-53 }
}
