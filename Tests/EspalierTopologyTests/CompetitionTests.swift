import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

/// What competes and what moves, where the suites of the single methods leave it open.
@Suite struct CompetitionTests {
  private static let sizes = GradientGrowthTests.sizes

  /// ceil(gamma * nnz) distinct inactive connections, or all: the largest gradients among exactly these.
  @Test(arguments: [0.5, 1, 40], [false, true])
  func exactSubsetsCompeteAsAlgorithmTwo(gamma: Double, integers: Bool) throws {
    var world = UpdaterCase(seed: 191, fraction: 0.4)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random, integers: integers)
    let updater = try GSE(schedule: world.schedule, gamma: gamma, subsetSize: .exact)
    for step in [1, 2, 50, 333, 998] {
      for layer in layers {
        layer.writeNumbers(&world.random, integers: integers)
        let gradient = world.gradients(of: layer, integers: integers)
        let free = layer.matrix.rows * layer.matrix.columns - layer.count
        let size = min(free, Int((gamma * Double(layer.count)).rounded(.up)))
        let offered = updater.candidates(
          in: MadeUpProbe(weights: layer, gradient: gradient), step: step, random: world.streams)
        let subset = offered.connections.cells
        #expect(subset.count == size && Set(subset).count == size)
        #expect(Set(subset).isDisjoint(with: layer.matrix.structure.cells))
        let k = min(world.count(of: layer.count, step: step), size)
        let before = Snapshot(layer)
        let reference = ReferenceExchange(
          weights: [before.weights], gradients: [subset.map { gradient[$0] }], k: k, keepsOne: false)
        let change = updater.changes(for: [offered], step: step, random: world.streams)[0]
        try layer.apply(change)
        try before.expect(
          layer, pruned: reference.pruned[0].map { before.cells[$0] }, grown: reference.grown[0].map { subset[$0] },
          gradient: gradient)
        #expect(layer.count == before.cells.count)
      }
    }
  }

  /// Where sums over several batches are at hand, these decide; an optimizer's step takes the step's own gradient all the same.
  @Test(arguments: SelectionScope.allCases)
  func sumsOverBatchesDecide(scope: SelectionScope) throws {
    var world = UpdaterCase(seed: 192, fraction: 0.4)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random)
    let updater = try GSE(schedule: world.schedule, scope: scope)
    for step in 1...40 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let gradients = layers.map { world.gradients(of: $0, integers: false) }
      let sums = layers.map { world.gradients(of: $0, integers: false) }
      let offered = zip(layers, zip(gradients, sums)).map { layer, numbers in
        var offer = updater.candidates(
          in: MadeUpProbe(weights: layer, gradient: numbers.0), step: step, random: world.streams)
        offer.scores = MadeUpProbe(weights: layer, gradient: numbers.1).gradients(at: offer.connections)
        return offer
      }
      let groups = scope == .global ? [Array(layers.indices)] : layers.indices.map { [$0] }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      for group in groups {
        let active = group.reduce(0) { $0 + layers[$1].count }
        let subsets = group.map { offered[$0].connections.cells }
        let reference = ReferenceExchange(
          weights: group.map { layers[$0].matrix.withValues { Array($0) } },
          gradients: zip(group, subsets).map { i, subset in subset.map { sums[i][$0] } },
          k: min(world.count(of: active, step: step), subsets.reduce(0) { $0 + $1.count }),
          keepsOne: scope == .global)
        for (place, i) in group.enumerated() {
          let before = Snapshot(layers[i])
          try layers[i].apply(changes[i])
          try before.expect(
            layers[i], pruned: reference.pruned[place].map { before.cells[$0] },
            grown: reference.grown[place].map { subsets[place][$0] }, gradient: gradients[i])
        }
      }
    }
  }

  /// What SNFS drops in all is shared by mean momentum and largest remainder, among the layers that have candidates.
  @Test func snfsSharesAreExact() throws {
    var world = UpdaterCase(seed: 193, fraction: 0.5)
    let layers = try makeLayers(
      [(20, 30, 60), (20, 30, 61), (20, 30, 62), (5, 5, 25)], meter: world.meter, random: &world.random)
    let updater = try SNFS(schedule: world.schedule, gamma: 3)
    for step in [1, 100, 400, 700, 990] {
      var offered: [LayerCandidates] = []
      for layer in layers {
        layer.writeNumbers(&world.random)
        for (i, momentum) in world.random.floats(layer.count).enumerated() { layer.optimizerState[0][i] = momentum }
        let probe = MadeUpProbe(weights: layer, gradient: world.gradients(of: layer, integers: false))
        offered.append(updater.candidates(in: probe, step: step, random: world.streams))
      }
      let total = layers.reduce(0) { $0 + min(world.count(of: $1.count, step: step), $1.count - 1) }
      let means = layers.prefix(3).map { layer in
        layer.optimizerState[0].array.reduce(0.0) { $0 + Double(abs($1)) } / Double(layer.count)
      }
      let shares = means.map { Double(total) * $0 / means.reduce(0, +) }
      var grown = shares.map { Int($0) } + [0]
      let byRemainder = shares.indices.sorted { shares[$0] - Double(grown[$0]) > shares[$1] - Double(grown[$1]) }
      for i in byRemainder.prefix(total - grown.reduce(0, +)) { grown[i] += 1 }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      #expect(changes.map(\.grownCount) == grown, "step \(step)")
      #expect(changes.reduce(0) { $0 + $1.prunedCount } == total)
    }
  }

  /// DSR: a layer that is all below the threshold keeps its largest weight; where nearly all is active no more goes than can come.
  @Test func dsrLeavesEachLayerItsLargestWeight() throws {
    var world = UpdaterCase(seed: 194, fraction: 0.3)
    let layers = try makeLayers([(9, 14, 40), (12, 7, 30)], meter: world.meter, random: &world.random)
    var updater = DSR(schedule: world.schedule, threshold: 100)
    let befores = layers.map(Snapshot.init)
    let offered = layers.map {
      updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: 1, random: world.streams)
    }
    let changes = updater.changes(for: offered, step: 1, random: world.streams)
    for (layer, (before, change)) in zip(layers, zip(befores, changes)) {
      let largest = before.weights.map(\.magnitude).max()!
      let kept = before.weights.firstIndex { $0.magnitude == largest }!
      #expect(change.prunedPositions == before.cells.indices.filter { $0 != kept })
      try layer.apply(change)
      #expect(layer.weightsByCell[before.cells[kept]] == before.weights[kept])
    }
    // One survivor each: equal shares.
    #expect(changes.map(\.grownCount) == [34, 34] && updater.threshold == 50)

    let full = try makeLayers([(5, 5, 23), (4, 5, 20)], meter: world.meter, random: &world.random)
    updater.state = [100]
    let last = updater.changes(
      for: full.map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: 1, random: world.streams)
      }, step: 1, random: world.streams)
    #expect(last.reduce(0) { $0 + $1.prunedCount } == 2 && last.reduce(0) { $0 + $1.grownCount } == 2)
    for (layer, change) in zip(full, last) { try layer.apply(change) }
    #expect(full.reduce(0) { $0 + $1.count } == 43)
  }

  /// ITOP's cosine: from its fraction to one in two hundred at the end; nothing from there on.
  @Test func itopsFractionFallsToItsFloor() {
    let schedule = ITOP.schedule(interval: 10, end: 1000)
    #expect(schedule.fraction == 0.5 && schedule.finalFraction == 0.005)
    for step in [0, 1, 250, 500, 999] {
      let expected = 0.005 + (0.5 - 0.005) * (1 + cos(Double.pi * Double(step) / 1000)) / 2
      #expect(abs(schedule.fraction(at: step) - expected) < 1e-15)
      #expect(schedule.count(of: 12_345, at: step) == Int((expected * 12_345).rounded(.up)))
    }
    #expect(schedule.fraction(at: 1000) == 0)
    #expect(ITOP.schedule(interval: 10, end: 1000, fraction: 0.001).finalFraction == 0.001)
    #expect(UpdateSchedule(interval: 1, end: 9, fraction: 0.3, finalFraction: 0.3).fraction(at: 8) == 0.3)
  }

  /// A run too short for an update would end with the connections that it began with.
  @Test func graNetRefusesAScheduleWithoutUpdates() throws {
    let never = UpdateSchedule(interval: 100, end: 100, fraction: 0.5)
    #expect(never.lastUpdate == 0)
    #expect(
      performing: { try GraNet(schedule: never, startConnections: 20, finalConnections: 10) },
      throws: { ($0 as? EspalierError)?.kind == .usage })
    _ = try GraNet(schedule: never, startConnections: 10, finalConnections: 10)
  }
}
