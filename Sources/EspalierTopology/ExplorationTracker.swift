import EspalierCore

/// Counts the connections of a layer that were ever active: the exploration rate's numerator (Liu et al. 2021, ITOP).
///
/// Keeps their union as a structure. Where that would grow beyond what the always-sparse rule allows one buffer, it forgets it and counts
/// no more.
public struct ExplorationTracker {
  /// Their union; nil where it was given up.
  public private(set) var explored: SparseStructure?
  private let name: String
  private let meter: AllocationMeter

  /// Starts with the connections that are active now.
  public init(_ matrix: SparseMatrix) { self.init(matrix, explored: matrix.structure) }

  /// Goes on from what was explored before; nil where counting was given up.
  public init(_ matrix: SparseMatrix, explored: SparseStructure?) {
    name = matrix.name
    meter = matrix.meter
    self.explored = explored
  }

  /// Connections ever active; nil where it was given up.
  public var count: Int? { explored?.count }

  /// Adds the connections that `matrix` is about to grow. O(explored).
  public mutating func add(_ grown: SparseStructure, to matrix: SparseMatrix) throws {
    guard let present = explored else { return }
    // A layer may grow more connections than it has.
    let site = matrix.site.with(connections: max(matrix.count, grown.count))
    let fresh = grown.subtracting(present, site: site, meter: meter)
    guard present.count + fresh.count <= site.largestBuffer(gamma: meter.gamma) else {
      explored = nil
      return
    }
    let none = MeteredBuffer<UInt32>(count: 0, tag: .selection, site: site, meter: meter)
    let change = TopologyChange(pruned: none, prunedCount: 0, grown: fresh)
    explored = try present.applying(change, name: name, site: site, meter: meter).structure
  }

  /// Gives up counting where the union is larger than one buffer of the layer, as it is after a change, may be.
  public mutating func forget(beyond site: WeightSite) {
    if let explored, explored.count > site.largestBuffer(gamma: meter.gamma) { self.explored = nil }
  }
}
