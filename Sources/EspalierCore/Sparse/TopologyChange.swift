import EspSparseMatmul

/// The connections that one layer drops and adds.
public struct TopologyChange {
  /// Positions of the connections to drop: ascending and distinct.
  public let pruned: MeteredBuffer<UInt32>
  /// How many of `pruned` count.
  public let prunedCount: Int
  /// The connections to add, all inactive before.
  public let grown: SparseStructure
  /// The gradient at each grown connection, where it was computed: what an optimizer step after the change uses.
  public let grownGradients: MeteredBuffer<Float>?
  /// The weight that each grown connection starts with; nil: zero.
  public let grownValues: MeteredBuffer<Float>?
  /// The optimizer state that each grown connection starts with, in the order of the parameter's; what is missing is zero.
  public let grownStates: [MeteredBuffer<Float>]
  /// How many inactive connections were compared, where the updater tells it with the change.
  public let examined: Int

  /// A change of one layer.
  public init(
    pruned: MeteredBuffer<UInt32>, prunedCount: Int, grown: SparseStructure,
    grownGradients: MeteredBuffer<Float>? = nil, grownValues: MeteredBuffer<Float>? = nil,
    grownStates: [MeteredBuffer<Float>] = [], examined: Int = 0
  ) {
    self.pruned = pruned
    self.prunedCount = prunedCount
    self.grown = grown
    self.grownGradients = grownGradients
    self.grownValues = grownValues
    self.grownStates = grownStates
    self.examined = examined
  }

  /// How many connections come.
  public var grownCount: Int { grown.count }
}

/// Where each connection of a rebuilt structure comes from.
public struct Remap {
  /// For each new position the old one, or `Remap.grown`.
  public let oldPositions: MeteredBuffer<UInt32>
  /// For each grown connection, in order, its new position.
  public let grownPositions: MeteredBuffer<UInt32>

  /// Marks a connection that did not exist before.
  public static let grown = UInt32.max

  /// `state` carried over to the new positions; grown connections get `fill`.
  public func callAsFunction(
    _ state: MeteredBuffer<Float>, fill: Float = 0, tag: AllocationTag, site: WeightSite, meter: AllocationMeter,
    threads: Int
  ) -> MeteredBuffer<Float> {
    let result = MeteredBuffer<Float>(count: oldPositions.count, tag: tag, site: site, meter: meter)
    esp_remap_f32(state.pointer, oldPositions.pointer, result.count, fill, result.pointer, Int32(threads))
    return result
  }
}

extension SparseStructure {
  /// The structure without the pruned and with the grown connections, and the remap, by a merge in O(nnz + rows).
  ///
  /// - Parameters:
  ///   - change: what goes and what comes.
  ///   - name: the layer's.
  ///   - site: the layer that the memory is for, where it is not this structure's own.
  ///   - meter: counts the memory.
  /// - Throws: `EspalierError.invariant` where a grown connection is active already.
  public func applying(
    _ change: TopologyChange, name: String, site: WeightSite? = nil, meter: AllocationMeter
  ) throws -> (structure: SparseStructure, remap: Remap) {
    let newCount = count - change.prunedCount + change.grownCount
    let site = site ?? WeightSite(layer: name, rows: rows, columns: columns, connections: max(count, newCount))
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: newCount, tag: .structure, site: site, meter: meter)
    let old = MeteredBuffer<UInt32>(count: newCount, tag: .selection, site: site, meter: meter)
    let grown = MeteredBuffer<UInt32>(count: change.grownCount, tag: .selection, site: site, meter: meter)
    let status = withUnsafePointer(to: csr) { active in
      withUnsafePointer(to: change.grown.csr) { added in
        esp_csr_apply_change(
          active, change.pruned.pointer, change.prunedCount, added, starts.pointer, indices.pointer, old.pointer,
          grown.pointer)
      }
    }
    guard status == 0 else { throw EspalierError.invariant("\(name): a connection to grow is active already") }
    let structure = SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
    return (structure, Remap(oldPositions: old, grownPositions: grown))
  }

  /// The connections of this structure that `other` lacks. O(rows + nnz of both).
  public func subtracting(_ other: SparseStructure, site: WeightSite, meter: AllocationMeter) -> SparseStructure {
    let starts = MeteredBuffer<UInt64>.zeros(count: rows + 1, tag: .selection, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .selection, site: site, meter: meter)
    var kept = 0
    for row in 0..<rows {
      var theirs = Int(other.rowStarts.pointer[row])
      let end = Int(other.rowStarts.pointer[row + 1])
      for position in positions(ofRow: row) {
        let column = columnIndices.pointer[position]
        while theirs < end, other.columnIndices.pointer[theirs] < column { theirs += 1 }
        if theirs < end, other.columnIndices.pointer[theirs] == column { continue }
        indices.pointer[kept] = column
        kept += 1
      }
      starts.pointer[row + 1] = UInt64(kept)
    }
    return SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }
}
