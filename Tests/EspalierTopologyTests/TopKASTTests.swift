import EspalierCore
import EspalierTopology
import TestSupport
import Testing

/// One layer on dense arrays, by sorting all weights at each choice.
private struct DenseTopKAST {
  let columns: Int
  let forward, backward: Int
  /// [rows * columns]: every weight, wherever it is.
  var weights: [Float]
  var momenta: [Float]
  var used: Set<Int> = []
  var trained: Set<Int> = []
  /// Weights that are out for good.
  var forgotten: Set<Int> = []

  init(_ layer: SparseLayerShape, forward: Int, backward: Int, field: StartingField) {
    columns = layer.columns
    self.forward = forward
    self.backward = backward
    weights = (0..<layer.rows).flatMap { row in
      (0..<layer.columns).map { field.value(row: row, column: $0) }
    }
    momenta = [Float](repeating: 0, count: weights.count)
    choose()
  }

  /// Of equal magnitudes what is used comes first, then what is trained, then the first.
  mutating func choose() {
    func rank(_ cell: Int) -> Int { used.contains(cell) ? 0 : trained.contains(cell) ? 1 : 2 }
    let order = weights.indices.filter { !forgotten.contains($0) }
      .sorted { (-abs(weights[$0]), rank($0), $0) < (-abs(weights[$1]), rank($1), $1) }
    let next = Set(order.prefix(backward))
    for cell in weights.indices where !(trained.contains(cell) && next.contains(cell)) { momenta[cell] = 0 }
    used = Set(order.prefix(forward))
    trained = next
  }

  /// Forgets the smallest of what was ever looked at and is not trained, beyond `room`.
  mutating func forget(seen: (Float) -> Bool, ever: inout Set<Int>, room: Int) {
    for cell in weights.indices where trained.contains(cell) || seen(weights[cell]) { ever.insert(cell) }
    let rest = ever.subtracting(trained).subtracting(forgotten)
    let out = rest.sorted { (-abs(weights[$0]), $0) < (-abs(weights[$1]), $1) }.dropFirst(room)
    forgotten.formUnion(out)
  }
}

@Suite struct TopKASTTests {
  private static let sizes = [
    (rows: 12, columns: 17, forward: 20, backward: 40), (rows: 30, columns: 20, forward: 12, backward: 60),
    (rows: 1, columns: 40, forward: 5, backward: 6),
  ]

  private struct Layer {
    let parameter: SparseParameter
    var dense: DenseTopKAST
  }

  private func makeLayers(_ context: ComputeContext) throws -> [Layer] {
    try Self.sizes.enumerated().map { index, size in
      let shape = SparseLayerShape(name: "layer\(index)", rows: size.rows, inChannels: size.columns)
      let start = TopKAST.start(
        shape, index: index, forward: size.forward, backward: size.backward, random: CounterRandom(seed: 5),
        context: context)
      let matrix = SparseMatrix(name: shape.name, structure: start.forward.structure, meter: context.meter)
      matrix.withMutableValues { _ = $0.update(fromContentsOf: start.forward.values.buffer) }
      let parameter = SparseParameter(matrix: matrix, index: index)
      parameter.backward = start.backward(matrix)
      let field = try #require(parameter.backward).field
      return Layer(
        parameter: parameter,
        dense: DenseTopKAST(shape, forward: size.forward, backward: size.backward, field: field))
    }
  }

  /// What a step of some optimizer might do to the weights that are trained, the same on both sides.
  private func move(_ layer: inout Layer, _ random: inout LayerRandom, used: Float, unused: ClosedRange<Float>) {
    let parameter = layer.parameter
    if parameter.optimizerState.isEmpty { parameter.optimizerState = [parameter.makeOptimizerState()] }
    func change(
      _ cells: [Int], _ values: UnsafeMutableBufferPointer<Float>, _ state: MeteredBuffer<Float>, _ isUsed: Bool
    ) {
      for (i, cell) in cells.enumerated() {
        let factor = isUsed ? used : Float.random(in: unused, using: &random)
        values[i] = factor * values[i] + Float.random(in: -0.02...0.02, using: &random)
        state[i] = state[i] + Float.random(in: 0...1, using: &random)
        layer.dense.weights[cell] = values[i]
        layer.dense.momenta[cell] = state[i]
      }
    }
    let cells = parameter.matrix.structure.cells
    parameter.withMutableValues { change(cells, $0, parameter.optimizerState[0], true) }
    guard let backward = parameter.backward else { return }
    if backward.optimizerState.isEmpty { backward.optimizerState = [backward.makeOptimizerState()] }
    backward.withMutableValues { change(backward.weights.structure.cells, $0, backward.optimizerState[0], false) }
  }

  private func expectSame(_ layer: Layer, sourceLocation: SourceLocation = #_sourceLocation) throws {
    let (parameter, dense) = (layer.parameter, layer.dense)
    let cells = parameter.matrix.structure.cells
    try parameter.matrix.structure.check(name: parameter.name)
    #expect(Set(cells) == dense.used && cells.count == dense.forward, sourceLocation: sourceLocation)
    #expect(
      parameter.matrix.withValues { Array($0) } == cells.map { dense.weights[$0] }, sourceLocation: sourceLocation)
    guard let backward = parameter.backward else { return }
    let unused = backward.weights.structure.cells
    try backward.weights.structure.check(name: backward.name)
    #expect(Set(unused) == dense.trained.subtracting(dense.used), sourceLocation: sourceLocation)
    #expect(backward.weights.values.array == unused.map { dense.weights[$0] }, sourceLocation: sourceLocation)
    let remembered = backward.remembered.structure.cells
    #expect(Set(remembered).isDisjoint(with: dense.trained), sourceLocation: sourceLocation)
    #expect(backward.remembered.values.array == remembered.map { dense.weights[$0] }, sourceLocation: sourceLocation)
    guard let state = parameter.optimizerState.first, let other = backward.optimizerState.first else { return }
    #expect(state.array == cells.map { dense.momenta[$0] }, sourceLocation: sourceLocation)
    #expect(other.array == unused.map { dense.momenta[$0] }, sourceLocation: sourceLocation)
  }

  @Test func startsWithTheLargestOfAllStartingWeights() throws {
    let context = try ComputeContext(threads: 2)
    for layer in try makeLayers(context) { try expectSame(layer) }
    try context.meter.check()
  }

  /// Used weights shrink slowly, those that are not used fast: as in training, every choice wants weights that were never seen.
  @Test(arguments: [(0.98, 0.5...0.9), (0.9, 0.0...0.3), (1.0, 0.9...1.1)] as [(Float, ClosedRange<Float>)])
  func choosesAsTheDenseRule(used: Float, unused: ClosedRange<Float>) throws {
    let context = try ComputeContext(threads: 2)
    var layers = try makeLayers(context)
    var random = LayerRandom(seed: 8)
    let updater = TopKAST(schedule: UpdateSchedule(interval: 3, end: 91, fraction: 0.2))
    #expect(updater.explorationEnd == 90)
    var ever = layers.map { _ in Set<Int>() }
    var (grown, lookUps, fromMemory, forgotten) = (0, 0, 0, 0)
    for step in 0..<100 {
      for i in layers.indices { move(&layers[i], &random, used: used, unused: unused) }
      let before = layers.map { ($0.dense.used, $0.parameter.backward) }
      let frontiers = before.map { $0.1?.frontier }
      let remembered = before.map { Set($0.1?.remembered.structure.cells ?? []) }
      let changes = try updater.changes(
        afterStep: step, of: layers.map(\.parameter), learningRate: 0.1, random: CounterRandom(seed: 5))
      #expect((changes != nil) == (step < 90 && step % 3 == 2))
      guard let changes else { continue }
      for i in layers.indices {
        try layers[i].parameter.apply(changes[i])
        layers[i].dense.choose()
        try expectSame(layers[i])
        #expect(Set(changes[i].grown.cells) == layers[i].dense.used.subtracting(before[i].0))
        grown += changes[i].grownCount
        guard step < 89 else { continue }
        let backward = try #require(layers[i].parameter.backward)
        let room = 4 * layers[i].dense.backward
        #expect(backward.remembered.count <= room)
        if backward.frontier != frontiers[i] { lookUps += 1 }
        fromMemory += layers[i].dense.trained.intersection(remembered[i]).count
        let least = backward.field.magnitude(ofLevel: backward.frontier)
        let field = backward.field
        let columns = layers[i].dense.columns
        for cell in layers[i].dense.weights.indices
        where abs(field.value(row: cell / columns, column: cell % columns)) >= least { ever[i].insert(cell) }
        layers[i].dense.forget(seen: { _ in false }, ever: &ever[i], room: room)
        let known = ever[i].subtracting(layers[i].dense.trained).subtracting(layers[i].dense.forgotten)
        #expect(Set(backward.remembered.structure.cells) == known)
        forgotten = max(forgotten, layers[i].dense.forgotten.count)
      }
    }
    #expect(layers.allSatisfy { $0.parameter.backward == nil })
    #expect(grown > 20 && fromMemory > 20)
    if used < 1 { #expect(lookUps > 1) }
    if used == 0.9 { #expect(forgotten > 0) }
    try context.meter.check()
  }

  /// After the last choice A alone is left; without room for one, from the first step on.
  @Test(arguments: [(10, 25, 20), (10, 10, 10), (10, 9, 0), (10, 0, 0), (1, 7, 7)])
  func explorationEnds(interval: Int, end: Int, last: Int) throws {
    let context = try ComputeContext(threads: 1)
    let layers = try makeLayers(context)
    let updater = TopKAST(schedule: UpdateSchedule(interval: interval, end: end, fraction: 0.2))
    #expect(updater.explorationEnd == last && !(0..<40).contains { updater.schedule.isUpdate(step: $0) })
    for step in 0..<30 {
      let changes = try updater.changes(
        afterStep: step, of: layers.map(\.parameter), learningRate: 0.1, random: CounterRandom(seed: 5))
      #expect((changes != nil) == (step + 1 <= last && (step + 1) % interval == 0))
      #expect(layers.allSatisfy { ($0.parameter.backward == nil) == (step + 1 >= last) })
      #expect(layers.map(\.parameter.count) == Self.sizes.map(\.forward))
    }
  }

  /// Of a weight that moves up, the value that it has reached comes into use, with its momentum.
  @Test func aPromotedWeightKeepsItsValue() throws {
    let context = try ComputeContext(threads: 1)
    let layer = try makeLayers(context)[0].parameter
    let backward = try #require(layer.backward)
    layer.optimizerState = [layer.makeOptimizerState()]
    backward.optimizerState = [backward.makeOptimizerState()]
    backward.withMutableValues { $0[3] = -7.5 }
    backward.optimizerState[0][3] = 0.625
    let cell = backward.weights.structure.cells[3]
    let updater = TopKAST(schedule: UpdateSchedule(interval: 1, end: 10, fraction: 0.2))
    let changes = try updater.changes(afterStep: 0, of: [layer], learningRate: 0.1, random: CounterRandom(seed: 5))
    try layer.apply(try #require(changes)[0])
    let place = try #require(layer.matrix.structure.cells.firstIndex(of: cell))
    #expect(layer.matrix.withValues { $0[place] } == -7.5 && layer.optimizerState[0][place] == 0.625)
  }

  /// Of a layer that the rule holds to less than its dense size, up to half may be trained.
  @Test(arguments: [0.1, 0.3, 0.4, 0.5])
  func theStartOfALargeLayerIsNeverDense(density: Double) throws {
    let layer = SparseLayerShape(name: "large", rows: 150, inChannels: 160)
    let backward = Int(density * Double(layer.size))
    let context = try ComputeContext(threads: 2)
    let start = TopKAST.start(
      layer, index: 0, forward: backward / 2, backward: backward, random: CounterRandom(seed: 4), context: context)
    try context.meter.check()
    #expect(start.forward.count == backward / 2)
    let matrix = SparseMatrix(name: "large", structure: start.forward.structure, taps: 1, meter: context.meter)
    #expect(start.backward(matrix).count == backward - backward / 2)
    try context.meter.check()
  }
}
