import EspalierCore
import EspalierTopology
import TestSupport
import Testing

/// Updaters against a slow reference that sorts whole lists.
struct UpdaterCase {
  var meter = AllocationMeter()
  var random: LayerRandom
  let streams = CounterRandom(seed: 71)
  let schedule: UpdateSchedule

  init(seed: UInt64, fraction: Double) {
    random = LayerRandom(seed: seed)
    schedule = UpdateSchedule(interval: 1, end: 1000, fraction: fraction)
  }

  /// alpha / 2 * (1 + cos(pi * t / end)) of `active`, rounded up.
  func count(of active: Int, step: Int) -> Int {
    min(active, Int((schedule.fraction(at: step) * Double(active)).rounded(.up)))
  }

  mutating func gradients(of layer: SparseParameter, integers: Bool) -> [Float] {
    let cells = layer.matrix.rows * layer.matrix.columns
    return integers
      ? (0..<cells).map { _ in Float(Int.random(in: -3...3, using: &random)) } : random.floats(cells)
  }

  /// Algorithm 2's S: distinct pairs drawn uniformly, without the active ones.
  func subset(of layer: SparseParameter, gamma: Double, step: Int) -> [Int] {
    layer.matrix.structure.randomInactiveSubset(
      draws: Int((gamma * Double(layer.count)).rounded(.up)),
      stream: streams.stream(.candidates, layer: layer.index, step: step), site: layer.matrix.site, meter: meter
    ).cells
  }
}

/// A layer as it was before an update, to compare with afterwards.
struct Snapshot {
  let cells: [Int]
  let weights: [Float]
  let momenta: [Float]

  init(_ layer: SparseParameter) {
    cells = layer.matrix.structure.cells
    weights = layer.matrix.withValues { Array($0) }
    momenta = layer.optimizerState[0].array
  }

  /// Expects that `layer` lost and won exactly these cells, that what stayed kept its numbers and what came has none.
  func expect(_ layer: SparseParameter, pruned: [Int], grown: [Int], gradient: [Float]?) throws {
    let after = Snapshot(layer)
    try layer.matrix.structure.check(name: layer.name)
    #expect(Set(cells).subtracting(after.cells) == Set(pruned))
    #expect(Set(after.cells).subtracting(cells) == Set(grown))
    #expect(after.cells.count == cells.count - pruned.count + grown.count)
    let before = Dictionary(uniqueKeysWithValues: zip(cells, zip(weights, momenta)))
    let isCarried = zip(after.cells, zip(after.weights, after.momenta)).allSatisfy { cell, numbers in
      numbers == before[cell] ?? (0, 0)
    }
    #expect(isCarried)
    guard let gradient else { return }
    let hasGradients = after.cells.indices.allSatisfy {
      before[after.cells[$0]] != nil || layer.gradient[$0] == gradient[after.cells[$0]]
    }
    #expect(hasGradients)
  }
}
