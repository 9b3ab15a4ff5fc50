import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

/// RigL, GraNet and SNFS against dense arrays and whole sorts.
@Suite struct GradientGrowthTests {
  static let sizes = [(rows: 9, columns: 14, count: 40), (12, 7, 30), (1, 30, 5), (5, 5, 24), (3, 4, 1)]

  private func offers(
    _ updater: some TopologyUpdater, _ layers: [SparseParameter], _ gradients: [[Float]], step: Int
  ) throws -> [LayerCandidates] {
    try zip(layers, gradients).map { layer, gradient in
      var probe = MadeUpProbe(weights: layer, gradient: gradient)
      probe.connections = layers.reduce(0) { $0 + $1.count }
      return try updater.candidates(in: probe, step: step, random: CounterRandom(seed: 71))
    }
  }

  /// What stays keeps weight and momentum, also what was dropped and came back.
  private func expectCarried(_ before: Snapshot, _ layer: SparseParameter, _ gradient: [Float]) {
    let after = Snapshot(layer)
    let old = Dictionary(uniqueKeysWithValues: zip(before.cells, zip(before.weights, before.momenta)))
    for (i, cell) in after.cells.enumerated() {
      let expected = old[cell] ?? (0, 0)
      #expect((after.weights[i], after.momenta[i]) == expected)
      if old[cell] == nil { #expect(layer.gradient[i] == gradient[cell]) }
    }
  }

  @Test(arguments: SelectionScope.allCases, [false, true])
  func rigLEqualsTheDenseRule(scope: SelectionScope, integers: Bool) throws {
    var world = UpdaterCase(seed: 171, fraction: 0.6)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random, integers: integers)
    let updater = RigL(schedule: world.schedule, scope: scope)
    var returned = 0
    for step in 1...60 {
      for layer in layers { layer.writeNumbers(&world.random, integers: integers) }
      let gradients = layers.map { world.gradients(of: $0, integers: integers) }
      let reference = DenseRegrowth(layers, gradients, scope: scope) { (0, world.count(of: $0, step: step)) }
      returned += reference.returned
      let offered = try offers(updater, layers, gradients, step: step)
      #expect(offered.map(\.examined) == layers.map { $0.matrix.rows * $0.matrix.columns - $0.count })
      let changes = try updater.changes(for: offered, step: step, random: world.streams)
      for (i, layer) in layers.enumerated() {
        let before = Snapshot(layer)
        try layer.apply(changes[i])
        #expect(layer.matrix.structure.cells == reference.cells[i])
        expectCarried(before, layer, gradients[i])
      }
    }
    #expect(returned > 20)
    try world.meter.check()
  }

  /// The whole network falls to the cubic schedule's number, then each layer exchanges its fraction.
  @Test func graNetEqualsTheDenseRule() throws {
    var world = UpdaterCase(seed: 172, fraction: 0.5)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random)
    let schedule = UpdateSchedule(interval: 1, end: 41, fraction: 0.5)
    let total = layers.reduce(0) { $0 + $1.count }
    let updater = try GraNet(schedule: schedule, startConnections: total, finalConnections: 30)
    for step in 1...40 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let gradients = layers.map { world.gradients(of: $0, integers: false) }
      let left = 30 + Int((Double(total - 30) * pow(1 - Double(step) / 40, 3)).rounded())
      let surplus = layers.reduce(0) { $0 + $1.count } - left
      // The smallest weights of all layers, each layer's largest aside.
      let smallest = layers.enumerated().flatMap { i, layer in
        layer.matrix.withValues { $0.map(\.magnitude).sorted().dropLast().map { (i, $0) } }
      }
      .sorted { $0.1 < $1.1 }.prefix(surplus)
      let offered = try offers(updater, layers, gradients, step: step)
      let changes = try updater.changes(for: offered, step: step, random: world.streams)
      for (i, layer) in layers.enumerated() {
        let pruned = smallest.count { $0.0 == i }
        let moved = Int((schedule.fraction(at: step) * Double(layer.count - pruned)).rounded(.up))
        let reference = DenseRegrowth([layer], [gradients[i]], scope: .local) { _ in (pruned, moved) }
        let before = Snapshot(layer)
        try layer.apply(changes[i])
        #expect(layer.matrix.structure.cells == reference.cells[0])
        expectCarried(before, layer, gradients[i])
      }
      #expect(layers.reduce(0) { $0 + $1.count } == left)
    }
    #expect(layers.reduce(0) { $0 + $1.count } == 30)
  }

  @Test func graNetRefusesToGrow() {
    let schedule = UpdateSchedule(interval: 1, end: 41, fraction: 0.5)
    #expect(
      performing: { try GraNet(schedule: schedule, startConnections: 10, finalConnections: 11) },
      throws: { ($0 as? EspalierError)?.kind == .usage })
  }

  /// What is dropped in all is shared by mean momentum, of Adam by m / sqrt(v); layers that are nearly full or offered little pass it on.
  @Test(arguments: [false, true])
  func snfsSharesByMomentum(isAdam: Bool) throws {
    var world = UpdaterCase(seed: 173, fraction: 0.5)
    let layers = try makeLayers(
      [(20, 30, 60), (20, 30, 60), (20, 30, 60), (5, 5, 25)], meter: world.meter, random: &world.random)
    let updater = try SNFS(schedule: world.schedule, gamma: 3)
    let scales: [Float] = [1, 2, 0.5, 9]
    for (layer, scale) in zip(layers, scales) {
      for i in 0..<layer.count { layer.optimizerState[0][i] = i % 2 == 0 ? scale : -scale }
      guard isAdam else { continue }
      layer.optimizerState.append(layer.makeOptimizerState())
      for i in 0..<layer.count {
        let root = Float(1 + i % 5) * 0.25 / scale
        layer.optimizerState[0][i] *= root
        layer.optimizerState[1][i] = root * root
      }
    }
    let gradients = layers.map { world.gradients(of: $0, integers: false) }
    let offered = try offers(updater, layers, gradients, step: 1)
    let dropped = layers.map { world.count(of: $0.count, step: 1) }
    let total = dropped.reduce(0, +)
    let changes = updater.changes(for: offered, step: 1, random: world.streams)
    // The full layer has no candidates; the rest is shared 2 : 4 : 1.
    for (share, change) in zip([2, 4, 1].map { Double(total) * $0 / 7 }, changes) {
      #expect(abs(Double(change.grownCount) - share) < 1)
    }
    #expect(changes[3].grownCount == 0 && changes.reduce(0) { $0 + $1.grownCount } == total)
    for (i, layer) in layers.enumerated() {
      let before = Snapshot(layer)
      #expect(changes[i].prunedCount == dropped[i])
      let pruned = before.cells.indices.sorted { before.weights[$0].magnitude < before.weights[$1].magnitude }
        .prefix(dropped[i]).map { before.cells[$0] }
      let subset = offered[i].connections.cells
      let grown = subset.sorted { gradients[i][$0].magnitude > gradients[i][$1].magnitude }
        .prefix(changes[i].grownCount)
      try layer.apply(changes[i])
      try before.expect(layer, pruned: pruned, grown: Array(grown), gradient: gradients[i])
    }
  }

  /// Guided GSE grows the largest gradients of the subset that its distributions draw.
  @Test(arguments: [Guide.grabo, .graest])
  func guidedGSEDrawsFromTheActivity(guide: Guide) throws {
    var world = UpdaterCase(seed: 174, fraction: 0.4)
    let layers = try makeLayers([(9, 14, 40)], meter: world.meter, random: &world.random)
    let updater = try GSE(schedule: world.schedule, guide: guide, gamma: 2)
    for step in 1...50 {
      var probe = MadeUpProbe(weights: layers[0], gradient: world.gradients(of: layers[0], integers: false))
      // Rows 3 and 5, columns 0 to 6 alone.
      let inputs: [Double] = [1, -2, 3, -4, 5, -6, 7, 0, 0, 0, 0, 0, 0, 0]
      let outputs: [Double] = [0, 0, 0, -0.5, 0, -0.5, 0, 0, 0]
      probe.sums = (inputs, outputs)
      let offered = updater.candidates(in: probe, step: step, random: world.streams)
      let isGuided = offered.connections.cells.allSatisfy { [3, 5].contains($0 / 14) && $0 % 14 < 7 }
      #expect(isGuided)
      let change = updater.changes(for: [offered], step: step, random: world.streams)[0]
      let grown = offered.connections.cells.sorted { probe.gradient[$0].magnitude > probe.gradient[$1].magnitude }
        .prefix(change.grownCount).sorted()
      #expect(change.grown.cells == grown)
      #expect(change.grownCount == min(world.count(of: 40, step: step), offered.connections.count))
    }
  }
}
