import EspalierCore
import EspalierTopology
import TestSupport
import Testing

/// A convolution and a linear layer, trained on small integers: every sum is exact, so that a plain dense gradient in Double decides ties
/// in the same way.
private struct IntegerNetwork {
  let context: ComputeContext
  let convolution, linear: SparseParameter
  var random = LayerRandom(seed: 81)

  init(threads: Int) throws {
    context = try ComputeContext(threads: threads)
    convolution = try Self.parameter(rows: 4, columns: 18, count: 20, taps: 9, index: 0, context, &random)
    linear = try Self.parameter(rows: 5, columns: 64, count: 60, taps: 1, index: 1, context, &random)
  }

  private static func parameter(
    rows: Int, columns: Int, count: Int, taps: Int, index: Int, _ context: ComputeContext, _ random: inout LayerRandom
  ) throws -> SparseParameter {
    let layer = OracleLayer(rows: rows, columns: columns, count: count, using: &random)
    let structure = try SparseStructure(
      rows: rows, columns: columns, connections: layer.connections, meter: context.meter)
    let matrix = SparseMatrix(name: "layer\(index)", structure: structure, taps: taps, meter: context.meter)
    return SparseParameter(matrix: matrix, index: index)
  }

  var layers: [SparseParameter] { [convolution, linear] }

  mutating func integers(samples: Int, channels: Int, side: Int = 1) -> OracleTensor {
    let count = samples * channels * side * side
    return OracleTensor(
      samples: samples, channels: channels, height: side, width: side,
      values: (0..<count).map { _ in Double(Int.random(in: -2...2, using: &random)) })
  }

  private func activations(_ tensor: OracleTensor) -> Activations {
    let result = context.pool.activations(
      ActivationShape(
        samples: tensor.samples, channels: tensor.channels, height: tensor.height, width: tensor.width))
    result.buffer.update(repeating: 0)
    for sample in 0..<tensor.samples {
      for feature in 0..<tensor.features {
        result[sample: sample, feature: feature] = Float(tensor.values[sample * tensor.features + feature])
      }
    }
    return result
  }

  private func dense(_ parameter: SparseParameter) -> [Double] {
    var result = [Double](repeating: 0, count: parameter.matrix.rows * parameter.matrix.columns)
    for (cell, weight) in parameter.weightsByCell { result[cell] = Double(weight) }
    return result
  }

  /// The loss's gradient at every cell of both layers, by differences of a dense forward pass.
  func denseGradients(_ x: OracleTensor, _ delta: OracleTensor) -> [[Float]] {
    let kernel = OracleKernel(height: 3, width: 3, padding: 1)
    let (first, second) = (dense(convolution), dense(linear))
    func loss(_ first: [Double], _ second: [Double]) -> Double {
      let none = [Double](repeating: 0, count: 4)
      return x.convolution(weights: first, bias: none, kernel).linear(weights: second, bias: none + [0]).dot(delta)
    }
    return [
      OracleDerivative.affine({ loss($0, second) }, at: first, indices: first.indices).map(Float.init),
      OracleDerivative.affine({ loss(first, $0) }, at: second, indices: second.indices).map(Float.init),
    ]
  }

  /// Sums over the batch's rows, samples and output positions, of |h| and |delta|, or of both times the rows' signs: of both layers.
  func activities(
    _ guide: Guide, step: Int, _ x: OracleTensor, _ delta: OracleTensor
  ) -> [(inputs: [Double], outputs: [Double])] {
    let (first, second) = (dense(convolution), dense(linear))
    let hidden = x.convolution(
      weights: first, bias: [0, 0, 0, 0], OracleKernel(height: 3, width: 3, padding: 1)
    )
    var back = hidden.map { _ in 0 }
    for sample in 0..<x.samples {
      for feature in 0..<64 {
        for o in 0..<5 { back.values[sample * 64 + feature] += second[o * 64 + feature] * delta.values[sample * 5 + o] }
      }
    }
    /// What a row's number counts as: the first of a pair of sums adds these.
    func part(_ value: Double, layer: Int, sample: Int, position: Int, positions: Int) -> Double {
      guard guide == .graest else { return abs(value) }
      let row = (sample / 32 * positions + position) * 32 + sample % 32
      let bits = CounterRandom(seed: 82).stream(.signs, layer: layer, step: step).bits(UInt64(row / 64))
      return bits >> UInt64(row % 64) & 1 == 1 ? -value : value
    }
    var sums = [(inputs: [Double], outputs: [Double])](
      repeating: ([Double](repeating: 0, count: 18), [0, 0, 0, 0]), count: 1)
    sums.append(([Double](repeating: 0, count: 64), [0, 0, 0, 0, 0]))
    for sample in 0..<x.samples {
      for position in 0..<16 {
        for o in 0..<4 {
          let value = back.values[sample * 64 + o * 16 + position]
          sums[0].outputs[o] += part(value, layer: 0, sample: sample, position: position, positions: 16)
        }
        for column in 0..<18 {
          let (i, j) = (position / 4 + column % 9 / 3 - 1, position % 4 + column % 3 - 1)
          guard (0..<4).contains(i), (0..<4).contains(j) else { continue }
          let value = x.values[sample * 32 + column / 9 * 16 + i * 4 + j]
          sums[0].inputs[column] += part(value, layer: 0, sample: sample, position: position, positions: 16)
        }
      }
      for o in 0..<5 {
        sums[1].outputs[o] += part(delta.values[sample * 5 + o], layer: 1, sample: sample, position: 0, positions: 1)
      }
      for column in 0..<64 {
        let value = hidden.values[sample * 64 + column]
        sums[1].inputs[column] += part(value, layer: 1, sample: sample, position: 0, positions: 1)
      }
    }
    return sums
  }

  /// One update through the tape.
  func update(_ updater: some TopologyUpdater, step: Int, _ x: OracleTensor, _ delta: OracleTensor) throws {
    var updater = updater
    let connections = layers.reduce(0) { $0 + $1.count }
    let tape = Tape(context: context, mode: .training(step: step))
    tape.computesSparseGradients = false
    var offered = [LayerCandidates?](repeating: nil, count: 2)
    tape.gradientSiteVisitor = { [updater] site in
      offered[site.parameter.index] = try updater.candidates(
        in: SiteProbe(site: site, networkConnections: connections), step: step, random: CounterRandom(seed: 82))
    }
    let convolved = try tape.sparseConvolution(
      Variable(activations(x)), weight: convolution, bias: nil, geometry: ConvolutionGeometry(kernel: 3, padding: 1))
    let output = try tape.sparseLinear(tape.flatten(convolved), weight: linear, bias: nil)
    try tape.backward(from: output, gradient: activations(delta))
    let changes = try updater.changes(
      for: offered.map { try #require($0) }, step: step, random: CounterRandom(seed: 82))
    for (parameter, change) in zip([convolution, linear], changes) {
      try parameter.apply(change, threads: context.threads)
    }
  }
}

@Suite struct NetworkUpdateTests {
  private static let schedule = UpdateSchedule(interval: 1, end: 100, fraction: 0.4)

  /// From a batch to the exchanged connections: real backward passes against a dense gradient in Double and a sort.
  @Test func gseEqualsADenseReferenceThroughTheTape() throws {
    var network = try IntegerNetwork(threads: 2)
    let updater = try GSE(schedule: Self.schedule)
    for step in 1..<40 {
      let layers = [network.convolution, network.linear]
      for layer in layers { layer.writeNumbers(&network.random, integers: true) }
      let x = network.integers(samples: 9, channels: 2, side: 4)
      let delta = network.integers(samples: 9, channels: 5)
      let gradients = network.denseGradients(x, delta)
      let expected = zip(layers, gradients).map { layer, gradient in
        let subset = layer.matrix.structure.randomInactiveSubset(
          draws: layer.count, stream: CounterRandom(seed: 82).stream(.candidates, layer: layer.index, step: step),
          site: layer.matrix.site, meter: network.context.meter
        ).cells
        let weights = layer.matrix.withValues { Array($0) }
        let k = min(Int((Self.schedule.fraction(at: step) * Double(layer.count)).rounded(.up)), subset.count)
        let reference = ReferenceExchange(
          weights: [weights], gradients: [subset.map { gradient[$0] }], k: k, keepsOne: false)
        let cells = layer.matrix.structure.cells
        return Set(cells).subtracting(reference.pruned[0].map { cells[$0] })
          .union(reference.grown[0].map { subset[$0] }).sorted()
      }
      try network.update(updater, step: step, x, delta)
      #expect(layers.map { $0.matrix.structure.cells } == expected)
    }
    try network.context.meter.check()
  }

  /// Streamed through the tape, in tiles, RigL picks exactly what a dense gradient in Double and a sort pick.
  @Test(arguments: SelectionScope.allCases)
  func rigLEqualsADenseReferenceThroughTheTape(scope: SelectionScope) throws {
    var network = try IntegerNetwork(threads: 2)
    let updater = RigL(schedule: Self.schedule, scope: scope)
    var returned = 0
    for step in 1..<40 {
      for layer in network.layers { layer.writeNumbers(&network.random, integers: true) }
      let x = network.integers(samples: 9, channels: 2, side: 4)
      let delta = network.integers(samples: 9, channels: 5)
      let gradients = network.denseGradients(x, delta)
      let reference = DenseRegrowth(network.layers, gradients, scope: scope) { active in
        (0, Int((Self.schedule.fraction(at: step) * Double(active)).rounded(.up)))
      }
      returned += reference.returned
      try network.update(updater, step: step, x, delta)
      #expect(network.layers.map { $0.matrix.structure.cells } == reference.cells)
    }
    #expect(returned > 0)
    try network.context.meter.check()
  }

  /// Guided: distributions from sums by plain loops in Double, gradients by differences, the rest by a sort.
  @Test(arguments: [Guide.grabo, .graest], SelectionScope.allCases)
  func guidedGSEEqualsADenseReferenceThroughTheTape(guide: Guide, scope: SelectionScope) throws {
    var network = try IntegerNetwork(threads: 2)
    let meter = network.context.meter
    let updater = try GSE(schedule: Self.schedule, guide: guide, gamma: 1.5, scope: scope)
    var unlikeUniform = 0
    for step in 1..<40 {
      let layers = network.layers
      for layer in layers { layer.writeNumbers(&network.random, integers: true) }
      let x = network.integers(samples: 9, channels: 2, side: 4)
      let delta = network.integers(samples: 9, channels: 5)
      let gradients = network.denseGradients(x, delta)
      let subsets = zip(layers, network.activities(guide, step: step, x, delta)).map { layer, sums in
        func table(_ weights: [Double]) -> AliasTable {
          let buffer = MeteredBuffer<Double>(
            count: weights.count, tag: .candidates, site: layer.matrix.site, meter: meter)
          for i in weights.indices { buffer[i] = weights[i] }
          return AliasTable(weights: buffer, site: layer.matrix.site, meter: meter)
        }
        func drawn(_ distribution: ConnectionDistribution) -> [Int] {
          layer.matrix.structure.randomInactiveSubset(
            draws: Int((1.5 * Double(layer.count)).rounded(.up)), from: distribution,
            stream: CounterRandom(seed: 82).stream(.candidates, layer: layer.index, step: step),
            site: layer.matrix.site, meter: meter
          ).cells
        }
        let subset = drawn(ConnectionDistribution(outputs: table(sums.outputs), inputs: table(sums.inputs)))
        if subset != drawn(.uniform) { unlikeUniform += 1 }
        return subset
      }
      let groups = scope == .global ? [[0, 1]] : [[0], [1]]
      var expected: [[Int]] = [[], []]
      for group in groups {
        let active = group.reduce(0) { $0 + layers[$1].count }
        let offered = group.reduce(0) { $0 + subsets[$1].count }
        let k = min(Int((Self.schedule.fraction(at: step) * Double(active)).rounded(.up)), offered)
        let reference = ReferenceExchange(
          weights: group.map { layers[$0].matrix.withValues { Array($0) } },
          gradients: group.map { i in subsets[i].map { gradients[i][$0] } }, k: k, keepsOne: scope == .global)
        for (place, i) in group.enumerated() {
          let cells = layers[i].matrix.structure.cells
          expected[i] = Set(cells).subtracting(reference.pruned[place].map { cells[$0] })
            .union(reference.grown[place].map { subsets[i][$0] }).sorted()
        }
      }
      try network.update(updater, step: step, x, delta)
      #expect(layers.map { $0.matrix.structure.cells } == expected, "step \(step)")
    }
    #expect(unlikeUniform > 70)
    try meter.check()
  }

  /// Structures, weights, momenta and gradients do not depend on the number of threads.
  @Test(arguments: SelectionScope.allCases)
  func updatesDoNotDependOnThreads(scope: SelectionScope) throws {
    func run(_ updater: some TopologyUpdater, threads: Int) throws -> [[UInt32]] {
      var network = try IntegerNetwork(threads: threads)
      let layers = [network.convolution, network.linear]
      var trace: [[UInt32]] = []
      for step in 1..<30 {
        for layer in layers { layer.writeNumbers(&network.random) }
        var x = network.integers(samples: 33, channels: 2, side: 4)
        var delta = network.integers(samples: 33, channels: 5)
        x.values = network.random.floats(x.values.count).map(Double.init)
        delta.values = network.random.floats(delta.values.count).map(Double.init)
        try network.update(updater, step: step, x, delta)
        for layer in layers {
          trace.append(layer.matrix.structure.cells.map(UInt32.init))
          trace.append(layer.matrix.withValues { $0.map(\.bitPattern) })
          trace.append(layer.optimizerState[0].array.map(\.bitPattern))
          trace.append(layer.gradient.array.map(\.bitPattern))
        }
      }
      return trace
    }
    let updaters: [any TopologyUpdater] = [
      try GSE(schedule: Self.schedule, scope: scope),
      try GSE(schedule: Self.schedule, guide: .grabo, scope: scope),
      try GSE(schedule: Self.schedule, guide: .graest, scope: scope, subsetSize: .exact),
      SET(schedule: Self.schedule, scope: scope), RigL(schedule: Self.schedule, scope: scope),
      MEST(schedule: Self.schedule), DSR(schedule: Self.schedule, threshold: 0.2),
      try SNFS(schedule: Self.schedule),
      try GraNet(schedule: Self.schedule, startConnections: 80, finalConnections: 40),
    ]
    for updater in updaters {
      let trace = try run(updater, threads: 1)
      for threads in [2, 3] { #expect(try run(updater, threads: threads) == trace, "\(updater)") }
    }
  }
}
