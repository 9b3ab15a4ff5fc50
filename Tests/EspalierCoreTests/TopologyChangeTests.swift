import EspalierCore
import TestSupport
import Testing

/// A layer whose connections are keys of a dictionary: what thousands of changes are compared with.
private struct DictionaryLayer {
  struct Connection: Equatable {
    var value, gradient, velocity, other: Float
  }

  let rows, columns, taps: Int
  var connections: [Int: Connection]

  var cells: [Int] { connections.keys.sorted() }

  /// Weights [rows, columns], zero where there is no connection.
  var dense: [Double] {
    var result = [Double](repeating: 0, count: rows * columns)
    for (cell, connection) in connections { result[cell] = Double(connection.value) }
    return result
  }
}

/// A layer under change, and the dictionary that says what it must be.
private final class ChangingLayer {
  let context: ComputeContext
  let parameter: SparseParameter
  var oracle: DictionaryLayer
  var random: LayerRandom

  init(rows: Int, columns: Int, taps: Int, count: Int, threads: Int, seed: UInt64) throws {
    context = try ComputeContext(threads: threads)
    random = LayerRandom(seed: seed)
    let layer = OracleLayer(rows: rows, columns: columns, count: count, using: &random)
    parameter = try context.parameter(layer, taps: taps)
    parameter.optimizerState = [parameter.makeOptimizerState(), parameter.makeOptimizerState()]
    oracle = DictionaryLayer(rows: rows, columns: columns, taps: taps, connections: [:])
    for cell in layer.cells { oracle.connections[cell] = .init(value: 0, gradient: 0, velocity: 0, other: 0) }
    let isZero = parameter.optimizerState.allSatisfy { $0.array.allSatisfy { $0 == 0 } }
    #expect(isZero)
    writeNumbers()
  }

  /// Gives every connection new small integers, some of them zero, in both.
  func writeNumbers() {
    for cell in oracle.cells {
      oracle.connections[cell] = .init(
        value: integer(), gradient: integer(), velocity: integer(), other: integer())
    }
    let all = oracle.cells.map { oracle.connections[$0]! }
    parameter.withMutableValues { values in
      for i in values.indices { values[i] = all[i].value }
    }
    for i in all.indices {
      parameter.gradient[i] = all[i].gradient
      parameter.optimizerState[0][i] = all[i].velocity
      parameter.optimizerState[1][i] = all[i].other
    }
  }

  private func integer() -> Float { Float(Int.random(in: -3...3, using: &random)) }

  /// Drops and adds random connections, as many as come, in both.
  func change(withGradients: Bool) throws {
    let cells = oracle.cells
    let free = (0..<oracle.rows * oracle.columns).filter { oracle.connections[$0] == nil }
    let pruned = cells.indices.shuffled(using: &random).prefix(Int.random(in: 0...cells.count, using: &random)).sorted()
    let grown = free.shuffled(using: &random).prefix(Int.random(in: 0...free.count, using: &random)).sorted()
    let gradients = grown.map { _ in integer() }
    try parameter.apply(
      context.change(
        prune: pruned, grow: grown, gradients: withGradients ? gradients : nil, in: parameter.matrix),
      threads: context.threads)
    for position in pruned { oracle.connections[cells[position]] = nil }
    for (cell, gradient) in zip(grown, gradients) {
      oracle.connections[cell] = .init(value: 0, gradient: withGradients ? gradient : 0, velocity: 0, other: 0)
    }
  }

  func expectEqual() throws {
    let cells = oracle.cells
    let structure = parameter.matrix.structure
    try structure.check(name: "layer")
    #expect(structure.cells == cells)
    #expect(parameter.count == cells.count && parameter.matrix.count == cells.count)
    let all = cells.map { oracle.connections[$0]! }
    #expect(parameter.matrix.withValues { Array($0) } == all.map(\.value))
    #expect(parameter.gradient.array == all.map(\.gradient))
    #expect(parameter.optimizerState.map(\.array) == [all.map(\.velocity), all.map(\.other)])
    #expect(parameter.bytes == bytes)
  }

  /// Structure both ways, values both ways, permutation, gradient, two states.
  private var bytes: Int {
    let count = oracle.connections.count
    let starts = 8 * (oracle.rows + 1 + oracle.columns / oracle.taps + 1)
    return starts + 4 * count * (2 + 2 + 1 + 1 + 2)
  }

  /// Output and input gradient, which is the product with the transposed structure: exact, for all numbers are small integers.
  func expectProducts() throws {
    let channels = oracle.columns / oracle.taps
    let side = oracle.taps == 1 ? 1 : 4
    let kernel = OracleKernel(height: oracle.taps == 1 ? 1 : 3, width: oracle.taps == 1 ? 1 : 3)
    func tensor(_ channels: Int, _ side: Int) -> OracleTensor {
      let values = (0..<2 * channels * side * side).map { _ in Double(integer()) }
      return OracleTensor(samples: 2, channels: channels, height: side, width: side, values: values)
    }
    let x = tensor(channels, side)
    let bias = [Double](repeating: 0, count: oracle.rows)
    let expected = x.convolution(weights: oracle.dense, bias: bias, kernel)
    let delta = tensor(oracle.rows, expected.height)
    let gradient = OracleDerivative.affine(
      { x.with($0).convolution(weights: oracle.dense, bias: bias, kernel).dot(delta) }, at: x.values,
      indices: x.values.indices)
    let tape = Tape(context: context, mode: .training(step: 0))
    tape.computesSparseGradients = false
    let source = tape.input(context.activations(x, padding: 0))
    let output =
      oracle.taps == 1
      ? try tape.sparseLinear(source, weight: parameter, bias: nil)
      : try tape.sparseConvolution(source, weight: parameter, bias: nil, geometry: ConvolutionGeometry(kernel: 3))
    #expect(context.numbers(output.value).map(Double.init) == expected.values)
    let result = try tape.backward(
      from: output, gradient: context.activations(delta, padding: 0), sources: [source])[0]
    #expect(result.map { context.numbers($0).map(Double.init) } == gradient)
  }
}

extension ComputeContext {
  /// A change by positions to prune and cells to grow, both ascending.
  func change(
    prune: [Int], grow: [Int], gradients: [Float]? = nil, in matrix: SparseMatrix
  ) throws -> TopologyChange {
    let pruned = MeteredBuffer<UInt32>(count: prune.count + 1, tag: .selection, site: matrix.site, meter: meter)
    pruned[prune.count] = 0  // does not count
    for (i, position) in prune.enumerated() { pruned[i] = UInt32(position) }
    let grown = try SparseStructure(
      rows: matrix.rows, columns: matrix.columns,
      connections: OracleLayer.connections(grow, columns: matrix.columns), tag: .candidates, meter: meter)
    let brought = gradients.map { gradients in
      let buffer = MeteredBuffer<Float>(count: gradients.count, tag: .selection, site: matrix.site, meter: meter)
      for (i, gradient) in gradients.enumerated() { buffer[i] = gradient }
      return buffer
    }
    return TopologyChange(pruned: pruned, prunedCount: prune.count, grown: grown, grownGradients: brought)
  }
}

@Suite struct TopologyChangeTests {
  @Test(arguments: [(1, 1, 1), (1, 30, 1), (30, 1, 1), (7, 11, 1), (4, 27, 9), (3, 9, 9)], [1, 2])
  func everythingFollowsItsConnection(shape: (rows: Int, columns: Int, taps: Int), threads: Int) throws {
    let layer = try ChangingLayer(
      rows: shape.rows, columns: shape.columns, taps: shape.taps, count: shape.rows * shape.columns / 3,
      threads: threads, seed: UInt64(shape.columns * 10 + threads))
    for round in 0..<600 {
      try layer.change(withGradients: round % 2 == 0)
      try layer.expectEqual()
      if round % 5 == 0 { try layer.expectProducts() }
      if round % 3 == 0 {
        layer.writeNumbers()
        try layer.expectEqual()
        if round % 2 == 0 { try layer.expectProducts() }  // the transposed copy of the values must follow
      }
    }
  }

  @Test func refusesToGrowWhatIsActive() throws {
    let context = try ComputeContext(threads: 1)
    let layer = OracleLayer(rows: 2, columns: 3, cells: [0, 4], values: [1, 2])
    let parameter = try context.parameter(layer)
    let change = try context.change(prune: [], grow: [1, 4], in: parameter.matrix)
    #expect(throws: EspalierError.invariant("layer: a connection to grow is active already")) {
      try parameter.apply(change)
    }
    #expect(parameter.matrix.structure.cells == [0, 4])
    #expect(parameter.matrix.withValues { Array($0) } == [1, 2])
  }

  /// What is pruned may return in the same change: as a new connection.
  @Test func aPrunedConnectionThatReturnsStartsAtZero() throws {
    let context = try ComputeContext(threads: 1)
    let parameter = try context.parameter(OracleLayer(rows: 2, columns: 3, cells: [0, 4], values: [1, 2]))
    parameter.gradient.buffer.update(repeating: 7)
    try parameter.apply(try context.change(prune: [1], grow: [4, 5], gradients: [5, 6], in: parameter.matrix))
    #expect(parameter.matrix.structure.cells == [0, 4, 5])
    #expect(parameter.matrix.withValues { Array($0) } == [1, 0, 0])
    #expect(parameter.gradient.array == [7, 5, 6])
  }

  @Test func remapNamesOldAndNewPositions() throws {
    let context = try ComputeContext(threads: 1)
    let parameter = try context.parameter(OracleLayer(rows: 2, columns: 4, cells: [1, 3, 6], values: [1, 2, 3]))
    let remap = try parameter.matrix.apply(try context.change(prune: [1], grow: [0, 7], in: parameter.matrix))
    #expect(remap.oldPositions.array == [Remap.grown, 0, 2, Remap.grown])
    #expect(remap.grownPositions.array == [0, 3])
  }

  @Test func replaceStartsAnew() throws {
    let context = try ComputeContext(threads: 1)
    let parameter = try context.parameter(OracleLayer(rows: 2, columns: 4, cells: [1, 3, 6], values: [1, 2, 3]))
    parameter.optimizerState = [parameter.makeOptimizerState()]
    let structure = try SparseStructure(rows: 2, columns: 4, connections: [(1, 1), (0, 0)], meter: context.meter)
    let values = MeteredBuffer<Float>(count: 2, tag: .values, site: parameter.matrix.site, meter: context.meter)
    values[0] = 5
    values[1] = -6
    parameter.replace(structure: structure, values: values)
    #expect(parameter.count == 2 && parameter.gradient.array == [0, 0] && parameter.optimizerState.isEmpty)
    let tape = Tape(context: context, mode: .training(step: 0))
    let delta = OracleTensor(samples: 1, channels: 2, values: [2, 3])
    let source = tape.input(
      context.activations(OracleTensor(samples: 1, channels: 4, values: [1, 1, 1, 1]), padding: 0))
    let output = try tape.sparseLinear(source, weight: parameter, bias: nil)
    let gradient = try tape.backward(from: output, gradient: context.activations(delta, padding: 0), sources: [source])
    #expect(context.numbers(output.value) == [5, -6])
    #expect(gradient[0].map(context.numbers) == [10, -18, 0, 0])
    #expect(parameter.gradient.array == [2, 3])
  }
}
