import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

/// SET's original rule, MEST, DSR and DeepR against plain references.
@Suite struct RandomGrowthTests {
  private static let sizes = GradientGrowthTests.sizes

  /// Cells of the k entries of the least score.
  private func least(_ k: Int, of cells: [Int], by scores: [Float]) -> [Int] {
    cells.indices.sorted { (scores[$0], $0) < (scores[$1], $1) }.prefix(k).map { cells[$0] }
  }

  @Test func originalSETPrunesBothSigns() throws {
    var world = UpdaterCase(seed: 181, fraction: 0.3)
    let layers = try makeLayers([(20, 30, 150), (9, 14, 40)], meter: world.meter, random: &world.random)
    let updater = try SET(schedule: world.schedule, rule: .original)
    var values: [Float] = []
    for step in 1...100 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let offered = layers.map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: step, random: world.streams)
      }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      for (layer, change) in zip(layers, changes) {
        let before = Snapshot(layer)
        let signed = zip(before.cells, before.weights)
        let pruned = [signed.filter { $0.1 >= 0 }, signed.filter { $0.1 < 0 }].flatMap { half in
          least(
            Int(world.schedule.fraction(at: step) * Double(half.count)), of: half.map(\.0), by: half.map { abs($0.1) })
        }
        let grown = change.grown.cells
        #expect(grown.count == pruned.count)
        try layer.apply(change)
        let after = Snapshot(layer)
        #expect(Set(before.cells).subtracting(after.cells) == Set(pruned))
        #expect(Set(after.cells).subtracting(before.cells) == Set(grown))
        for (cell, (weight, momentum)) in zip(after.cells, zip(after.weights, after.momenta)) where grown.contains(cell)
        {
          values.append(weight)
          #expect(momentum == 0)
        }
      }
    }
    // Normal with deviation 0.1.
    let variance = values.reduce(0) { $0 + Double($1) * Double($1) } / Double(values.count)
    #expect(values.count > 1000)
    #expect(abs(variance / 0.01 - 1) < 4.5 * (2 / Double(values.count)).squareRoot())
    #expect(throws: EspalierError.self) { try SET(schedule: world.schedule, scope: .global, rule: .original) }
  }

  @Test(arguments: [Float(0), 1, 5])
  func mestPrunesTheLeastImportant(lambda: Float) throws {
    var world = UpdaterCase(seed: 182, fraction: 0.4)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random)
    let updater = MEST(schedule: world.schedule, lambda: lambda)
    for step in 1...60 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let gradients = layers.map { world.gradients(of: $0, integers: false) }
      let offered = zip(layers, gradients).map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: $1), step: step, random: world.streams)
      }
      let changes = try updater.changes(for: offered, step: step, random: world.streams)
      for (i, layer) in layers.enumerated() {
        let before = Snapshot(layer)
        let importance = zip(before.cells, before.weights).map { abs($1) + lambda * abs(gradients[i][$0]) }
        let free = layer.matrix.rows * layer.matrix.columns - layer.count
        let k = min(world.count(of: layer.count, step: step), free)
        let grown = changes[i].grown.cells
        try layer.apply(changes[i])
        try before.expect(layer, pruned: least(k, of: before.cells, by: importance), grown: grown, gradient: nil)
      }
    }
  }

  /// A layer that grows many times its own connections is sparse before and after, and on the way.
  @Test func growthManyTimesALayerIsNeverDense() throws {
    var world = UpdaterCase(seed: 188, fraction: 0.2)
    let layer = try makeLayers([(300, 200, 50)], meter: world.meter, random: &world.random)[0]
    var tracker = ExplorationTracker(layer.matrix)
    let change = layer.exchange(pruned: layer.smallestWeights(10), growing: 9000, step: 1, random: world.streams)
    try tracker.add(change.grown, to: layer.matrix)
    try layer.apply(change)
    tracker.forget(beyond: layer.matrix.site)
    #expect(layer.count == 9040 && tracker.count == 9050)
    try world.meter.check()
  }

  /// Everything below one threshold goes; survivors' shares come; the threshold follows the target.
  @Test func dsrFollowsItsThreshold() throws {
    var world = UpdaterCase(seed: 183, fraction: 0.2)
    let layers = try makeLayers(
      [(30, 30, 200), (20, 40, 100), (10, 10, 97)], meter: world.meter, random: &world.random)
    let schedule = UpdateSchedule(interval: 1, end: 1000, fraction: 0.2, finalFraction: 0.2)
    var updater = DSR(schedule: schedule, threshold: 0.01)
    var threshold = 0.01
    for step in 1...50 {
      for layer in layers { layer.writeNumbers(&world.random) }
      let offered = layers.map {
        updater.candidates(in: MadeUpProbe(weights: $0, gradient: []), step: step, random: world.streams)
      }
      #expect(updater.state == [threshold])
      let befores = layers.map(Snapshot.init)
      let below = befores.map { before in
        zip(before.cells, before.weights).filter { Double(abs($0.1)) < threshold }.map(\.0)
      }
      let total = below.reduce(0) { $0 + $1.count }
      let survivors = zip(befores, below).map { Double($0.cells.count - $1.count) }
      let capacities = layers.map { Double($0.matrix.rows * $0.matrix.columns - $0.count) }
      let changes = updater.changes(for: offered, step: step, random: world.streams)
      // min(capacity, c * survivors) with the c that spends the whole budget.
      var (low, high) = (0.0, 1e6)
      for _ in 0..<200 {
        let middle = (low + high) / 2
        if zip(survivors, capacities).reduce(0, { $0 + min($1.1, middle * $1.0) }) < Double(total) {
          low = middle
        } else {
          high = middle
        }
      }
      for (i, layer) in layers.enumerated() {
        #expect(abs(Double(changes[i].grownCount) - min(capacities[i], high * survivors[i])) < 1 + 1e-6)
        let grown = changes[i].grown.cells
        try layer.apply(changes[i])
        try befores[i].expect(layer, pruned: below[i], grown: grown, gradient: nil)
      }
      #expect(layers.reduce(0) { $0 + $1.count } == 397)
      if Double(total) < 0.9 * 0.2 * 397 { threshold *= 2 } else if Double(total) > 1.1 * 0.2 * 397 { threshold /= 2 }
    }
    // Uniform magnitudes below 1: a fifth of them lie below 0.2, which doubling meets within a factor of two.
    #expect(threshold > 0.1 && threshold < 0.4)
    updater.state = [0.5]
    #expect(updater.threshold == 0.5)
  }

  /// Signs are kept; connections that cross zero, and no others, make way for as many random ones.
  @Test func deepRReplacesWhatCrossesZero() throws {
    var world = UpdaterCase(seed: 184, fraction: 0)
    let layers = try makeLayers(Self.sizes, meter: world.meter, random: &world.random)
    let (decay, rate) = (0.125, 0.25)
    let updater = DeepR(recordEvery: 10, decay: decay, temperature: 0)
    var signs: [[Int: Float]] = layers.map { layer in layer.weightsByCell.mapValues { $0 < 0 ? -1 : 1 } }
    var coins: [Float] = []
    var stayed = 0
    for step in 0..<120 {
      let moved = layers.map { layer in layer.matrix.withValues { Array($0) } }
      let changes = try #require(
        updater.changes(afterStep: step, of: layers, learningRate: rate, random: world.streams))
      for (i, layer) in layers.enumerated() {
        let known = signs[i]
        let state = layer.topologyState[0].array
        for (cell, sign) in zip(layer.matrix.structure.cells, state) {
          if let old = known[cell] { #expect(sign == old) } else { coins.append(sign) }
          #expect(abs(sign) == 1)
          signs[i][cell] = sign
        }
        let before = Snapshot(layer)
        let strengths = zip(state, moved[i]).map { sign, weight in
          let strength = sign * weight
          return strength > 0 ? strength - Float(rate * decay) : strength
        }
        let free = layer.matrix.rows * layer.matrix.columns - layer.count
        var pruned: [Int] = []
        for (j, strength) in strengths.enumerated() {
          // What crosses zero and finds no free place stays, with strength zero.
          let isKept = strength < 0 && pruned.count == free
          #expect(state[j] * before.weights[j] == (isKept ? 0 : strength))
          if isKept { stayed += 1 } else if strength < 0 { pruned.append(before.cells[j]) }
        }
        let grown = changes[i].grown.cells
        try layer.apply(changes[i])
        try before.expect(layer, pruned: pruned, grown: grown, gradient: nil)
        for cell in pruned { signs[i][cell] = nil }
        layer.withMutableValues { values in
          for j in values.indices { values[j] += Float.random(in: -0.2...0.2, using: &world.random) }
        }
      }
    }
    let positive = Double(coins.count { $0 > 0 })
    #expect(coins.count > 300 && stayed > 0)
    #expect(abs(positive - Double(coins.count) / 2) < 2 * Double(coins.count).squareRoot())
  }

  /// One step's move: theta loses eta alpha and wins noise of deviation sqrt(2 eta T); strengths at zero stay.
  @Test func deepRDecaysAndShakes() throws {
    var world = UpdaterCase(seed: 185, fraction: 0)
    let layer = try makeLayers([(100, 200, 10_000)], meter: world.meter, random: &world.random)[0]
    layer.withMutableValues { values in
      for i in values.indices { values[i] = i % 5 == 0 ? 0 : i % 2 == 0 ? 1 : -1 }
    }
    let before = layer.matrix.withValues { Array($0) }
    let updater = DeepR(recordEvery: 10, decay: 0.25, temperature: 0.0002)
    _ = updater.changes(afterStep: 0, of: [layer], learningRate: 0.5, random: world.streams)
    let after = layer.matrix.withValues { Array($0) }
    var (sum, squares, count) = (0.0, 0.0, 0.0)
    for (old, new) in zip(before, after) {
      guard old != 0 else {
        #expect(new == 0)
        continue
      }
      let move = Double((new - old) * (old < 0 ? -1 : 1)) + 0.125
      (sum, squares, count) = (sum + move, squares + move * move, count + 1)
    }
    #expect(abs(sum / count) < 4.5 * (0.0002 / count).squareRoot())
    #expect(abs(squares / count / 0.0002 - 1) < 4.5 * (2 / count).squareRoot())
  }
}
