import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct GSETests {
  static let sizes = [(rows: 9, columns: 14, count: 40), (12, 7, 30), (1, 30, 5), (5, 5, 24), (3, 4, 1)]

  /// Local scope: each layer for itself, as Algorithm 2 has it.
  @Test(arguments: [0.5, 1, 2.5], [false, true])
  func localEqualsAlgorithmTwo(gamma: Double, integers: Bool) throws {
    var world = UpdaterCase(seed: 72, fraction: 0.4)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random, integers: integers)
    let updater = try GSE(schedule: world.schedule, gamma: gamma)
    for step in [1, 2, 50, 333, 700, 998, 1000] {
      var offered: [LayerCandidates] = []
      var expected: [(pruned: [Int], grown: [Int], gradient: [Float])] = []
      for layer in layers {
        layer.writeNumbers(&world.random, integers: integers)
        let gradient = world.gradients(of: layer, integers: integers)
        let subset = world.subset(of: layer, gamma: gamma, step: step)
        let k = min(world.count(of: layer.count, step: step), subset.count)
        let reference = ReferenceExchange(
          weights: [layer.matrix.withValues { Array($0) }], gradients: [subset.map { gradient[$0] }], k: k,
          keepsOne: false)
        let cells = layer.matrix.structure.cells
        expected.append((reference.pruned[0].map { cells[$0] }, reference.grown[0].map { subset[$0] }, gradient))
        #expect(expected.last!.pruned.count == k && expected.last!.grown.count == k)
        offered.append(
          updater.candidates(
            in: MadeUpProbe(weights: layer, gradient: gradient), step: step, random: world.streams))
        #expect(offered.last!.connections.cells == subset)
      }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      #expect(changes.count == layers.count)
      for (layer, (change, reference)) in zip(layers, zip(changes, expected)) {
        let before = Snapshot(layer)
        #expect(change.grown.cells == reference.grown)
        try layer.apply(change)
        try before.expect(layer, pruned: reference.pruned, grown: reference.grown, gradient: reference.gradient)
        #expect(layer.count == before.cells.count)
      }
    }
  }

  /// The authors' code: a layer that is half dense or more looks at every other connection.
  @Test func denseLayersAreExaminedWhole() throws {
    var world = UpdaterCase(seed: 79, fraction: 0.4)
    let layers = try makeLayers(
      [(8, 10, 40), (8, 10, 39), (5, 5, 24), (4, 4, 16)], meter: world.meter, random: &world.random)
    let updater = try GSE(schedule: world.schedule, gamma: 0.1, examinesDenseLayersWhole: true)
    for (layer, isWhole) in zip(layers, [true, false, true, true]) {
      let gradient = world.gradients(of: layer, integers: false)
      let offered = updater.candidates(
        in: MadeUpProbe(weights: layer, gradient: gradient), step: 1, random: world.streams)
      let others = Set(0..<gradient.count).subtracting(layer.matrix.structure.cells)
      #expect((Set(offered.connections.cells) == others) == isWhole)
      #expect(
        offered.gradients?.array.prefix(offered.connections.count).elementsEqual(
          offered.connections.cells.map { gradient[$0] }) == true)
    }
  }

  /// Global scope: one sort over all layers, and no layer loses its last connection.
  @Test(arguments: [0.2, 0.9], [false, true])
  func globalEqualsOneSort(fraction: Double, integers: Bool) throws {
    var world = UpdaterCase(seed: 73, fraction: fraction)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random, integers: integers)
    let updater = try GSE(schedule: world.schedule, scope: .global)
    let total = layers.reduce(0) { $0 + $1.count }
    for step in 1...60 {
      for layer in layers { layer.writeNumbers(&world.random, integers: integers) }
      let gradients = layers.map { world.gradients(of: $0, integers: integers) }
      let subsets = layers.map { world.subset(of: $0, gamma: 1, step: step) }
      let k = min(world.count(of: total, step: step), subsets.reduce(0) { $0 + $1.count })
      let reference = ReferenceExchange(
        weights: layers.map { $0.matrix.withValues { Array($0) } },
        gradients: zip(subsets, gradients).map { subset, gradient in subset.map { gradient[$0] } }, k: k,
        keepsOne: true)
      let offered = zip(layers, gradients).map { layer, gradient in
        updater.candidates(
          in: MadeUpProbe(weights: layer, gradient: gradient), step: step, random: world.streams)
      }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      for (i, layer) in layers.enumerated() {
        let before = Snapshot(layer)
        #expect(changes[i].prunedPositions == reference.pruned[i])
        try layer.apply(changes[i])
        try before.expect(
          layer, pruned: reference.pruned[i].map { before.cells[$0] }, grown: reference.grown[i].map { subsets[i][$0] },
          gradient: gradients[i])
        #expect(layer.count >= 1)
      }
      #expect(layers.reduce(0) { $0 + $1.count } == total)
    }
  }

  @Test func aFullLayerStaysAsItIs() throws {
    var world = UpdaterCase(seed: 74, fraction: 0.5)
    let layers = try makeLayers([(4, 5, 20)], meter: world.meter, random: &world.random)
    for scope in SelectionScope.allCases {
      let updater = try GSE(schedule: world.schedule, scope: scope)
      let offered = updater.candidates(
        in: MadeUpProbe(weights: layers[0], gradient: [Float](repeating: 1, count: 20)), step: 1,
        random: world.streams)
      let change = updater.changes(for: [offered], step: 1, random: world.streams)[0]
      #expect(change.prunedCount == 0 && change.grownCount == 0)
    }
  }

  @Test(arguments: [0, -1, .nan, .infinity])
  func refusesBadGammas(gamma: Double) {
    #expect(
      performing: { try GSE(schedule: UpdateSchedule(interval: 1, end: 2, fraction: 0.2), gamma: gamma) },
      throws: { ($0 as? EspalierError)?.kind == .usage })
  }
}
