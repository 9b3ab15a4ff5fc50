import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct SETTests {
  @Test func localExchangesTheSmallestForAsManyInactive() throws {
    var world = UpdaterCase(seed: 75, fraction: 0.4)
    let layers = try makeLayers(GSETests.sizes, meter: world.meter, random: &world.random)
    let updater = SET(schedule: world.schedule)
    for step in 1...200 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let offered = layers.map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: step, random: world.streams)
      }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      for (layer, change) in zip(layers, changes) {
        let before = Snapshot(layer)
        let free = layer.matrix.rows * layer.matrix.columns - layer.count
        let k = min(world.count(of: layer.count, step: step), free)
        let pruned = ReferenceExchange(
          weights: [before.weights], gradients: [[Float](repeating: 0, count: k)], k: k, keepsOne: false
        ).pruned[0].map { before.cells[$0] }
        #expect(change.grownCount == k && change.grownGradients == nil)
        let grown = change.grown.cells
        try layer.apply(change)
        try before.expect(layer, pruned: pruned, grown: grown, gradient: nil)
      }
    }
  }

  @Test func globalKeepsTheWholeAndALastConnection() throws {
    var world = UpdaterCase(seed: 76, fraction: 0.9)
    let layers = try makeLayers(GSETests.sizes, meter: world.meter, random: &world.random)
    let updater = SET(schedule: world.schedule, scope: .global)
    let total = layers.reduce(0) { $0 + $1.count }
    for step in 1...200 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let offered = layers.map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: step, random: world.streams)
      }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      let inactive = layers.map { $0.matrix.rows * $0.matrix.columns - $0.count }
      let reference = ReferenceExchange(
        weights: layers.map { $0.matrix.withValues { Array($0) } },
        gradients: inactive.map { [Float](repeating: 0, count: $0) },
        k: min(world.count(of: total, step: step), inactive.reduce(0, +)), keepsOne: true)
      for (i, layer) in layers.enumerated() {
        #expect(changes[i].prunedPositions == reference.pruned[i])
        let before = Snapshot(layer)
        let grown = changes[i].grown.cells
        try layer.apply(changes[i])
        try before.expect(layer, pruned: reference.pruned[i].map { before.cells[$0] }, grown: grown, gradient: nil)
        #expect(layer.count >= 1)
      }
      #expect(layers.reduce(0) { $0 + $1.count } == total)
    }
  }

  /// Every inactive connection is equally likely to grow.
  @Test(arguments: SelectionScope.allCases)
  func growthIsUniform(scope: SelectionScope) throws {
    var world = UpdaterCase(seed: 77, fraction: 0.5)
    let layers = try makeLayers([(4, 6, 8)], meter: world.meter, random: &world.random)
    let updater = SET(schedule: world.schedule, scope: scope)
    let free = Set(0..<24).subtracting(layers[0].matrix.structure.cells)
    var counts = Dictionary(uniqueKeysWithValues: free.map { ($0, 0) })
    let trials = 6000
    for seed in 0..<trials {
      let streams = CounterRandom(seed: UInt64(seed))
      let offered = updater.candidates(in: MadeUpProbe(weights: layers[0], gradient: []), step: 1, random: streams)
      let change = updater.changes(for: [offered], step: 1, random: streams)[0]
      #expect(change.grownCount == 4)
      for cell in change.grown.cells { counts[cell]! += 1 }
    }
    let p = 4.0 / 16
    let statistic = LayerStatistics.chiSquared(
      exchangeable: Array(counts.values), trials: trials, variance: p * (1 - p), covariance: -p * (1 - p) / 15)
    #expect(counts.count == 16)
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: 15))
  }

  /// In global scope a layer grows its share of the network's inactive connections, however few it has.
  @Test func globalGrowthFollowsWhatIsInactive() throws {
    var world = UpdaterCase(seed: 78, fraction: 0.5)
    let layers = try makeLayers(
      [(30, 40, 60), (30, 40, 1100), (10, 10, 95), (6, 6, 36)], meter: world.meter, random: &world.random)
    let updater = SET(schedule: world.schedule, scope: .global)
    let inactive = layers.map { Double($0.matrix.rows * $0.matrix.columns - $0.count) }
    let offered = layers.map {
      updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: 1, random: world.streams)
    }
    let changes = updater.changes(for: offered, step: 1, random: world.streams)
    let total = Double(changes.reduce(0) { $0 + $1.grownCount })
    #expect(Int(total) == changes.reduce(0) { $0 + $1.prunedCount } && total > 600)
    for (change, inactive) in zip(changes, inactive) {
      #expect(abs(Double(change.grownCount) - total * inactive / (1140 + 100 + 5)) < 1)
    }
    for (layer, change) in zip(layers, changes) { try layer.apply(change) }
    try world.meter.check()
  }
}
