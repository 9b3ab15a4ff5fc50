import EspalierCore
import Foundation

/// Gradual pruning with neuroregeneration (Liu et al., arXiv 2106.10404, section 4): at each update the smallest weights of the whole network go
/// until it has the number of connections of a cubic schedule; then each layer drops a fraction of the smallest of what is left, and grows
/// as many by the largest gradients, as RigL does.
///
/// The number at update t is final + (start - final) (1 - t / t_last)^3; after the last update it is the final one exactly. Materialises
/// gradients of some 64 rows at a time. Memory is O(n + nnz) of the moment: it begins with the start's. Time: a dense weight gradient at updates.
/// Departures: every layer keeps at least one connection; a connection that the network's pruning takes may come back at once by its
/// gradient, and then as it was, like one that regeneration dropped.
public struct GraNet: TopologyUpdater {
  /// The fraction is that of the regeneration.
  public let schedule: UpdateSchedule
  /// Connections of the network at the end.
  public let finalConnections: Int
  /// What the run began with.
  private var startConnections: Int

  /// - Throws: `EspalierError.usage` where pruning would have to add connections, or has no update to take place at.
  public init(schedule: UpdateSchedule, startConnections: Int, finalConnections: Int) throws {
    guard startConnections >= finalConnections else {
      throw EspalierError.usage(
        "initial-sparsity: a start with \(startConnections) connections cannot be pruned to \(finalConnections); expected a lower initial than final sparsity"
      )
    }
    guard startConnections == finalConnections || schedule.lastUpdate > 0 else {
      throw EspalierError.usage(
        "update-every: GraNet prunes from \(startConnections) to \(finalConnections) connections at updates, and none comes within \(schedule.end) steps; expected a shorter interval or a larger update-until"
      )
    }
    self.schedule = schedule
    self.startConnections = startConnections
    self.finalConnections = finalConnections
  }

  public var state: [Double] {
    get { [Double(startConnections)] }
    set { if let start = newValue.first { startConnections = Int(start) } }
  }

  public func connections(afterStep step: Int, startingWith count: Int) -> Int {
    let left = schedule.lastUpdate > 0 ? 1 - min(1, Double(step) / Double(schedule.lastUpdate)) : 0
    return finalConnections + Int((Double(startConnections - finalConnections) * pow(left, 3)).rounded())
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .largestGradients(schedule.count(of: layer.weights.count, at: step), in: layer)
  }

  public func changes(
    for layers: [LayerCandidates], step: Int, random: CounterRandom
  ) throws -> [TopologyChange] {
    let active = layers.reduce(0) { $0 + $1.weights.count }
    let surplus = max(0, active - connections(afterStep: step, startingWith: startConnections))
    let pruned = Self.smallestCounts(surplus, in: layers.map(\.weights))
    return try layers.indices.flatMap { i in
      let weights = layers[i].weights
      let moved = schedule.count(of: weights.count - pruned[i], at: step)
      // The smallest of what is left after the smallest: the smallest of all.
      return try regrow(moved, in: layers[i...i], pruned: [weights.smallestWeights(pruned[i] + moved)])
    }
  }

  /// How many of the k smallest weights of the network each layer has, its largest weight aside.
  private static func smallestCounts(_ k: Int, in layers: [SparseParameter]) -> [Int] {
    guard let meter = layers.first?.matrix.meter else { return [] }
    let scores = layers.flatMap { layer in
      layer.matrix.withValues { values in
        let largest = layer.largestWeight
        return [values[..<min(largest, values.count)], values[min(largest + 1, values.count)...]].map {
          SelectionScores(UnsafeBufferPointer(rebasing: $0), site: layer.matrix.site)
        }
      }
    }
    let room = scores.reduce(0) { $0 + $1.values.count }
    let selected = MagnitudeSelection(meter: meter).select(min(k, room), .smallest, of: scores)
    return layers.indices.map { selected[2 * $0].count + selected[2 * $0 + 1].count }
  }
}
