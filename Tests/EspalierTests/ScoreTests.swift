import EspalierBaselines
import EspalierCore
import EspalierTopology
import TestSupport
import Testing

import Espalier

/// Dense networks that are computed tile by tile, and the scores of their weights.
@Suite struct ScoreTests {
  /// Weights, scores and the rest of what tiles show of a layer, dense [rows, columns].
  private struct Shown {
    var values: [Float]
    var scores: [Float]

    init(
      _ weights: ProceduralWeights, _ rule: ScoreTile.Rule, gradient: [GradientFactors], less: [GradientFactors] = [],
      factor: Float = 1, context: ComputeContext
    ) {
      values = [Float](repeating: .nan, count: weights.rows * weights.columns)
      scores = values
      var next = 0
      weights.forEachScoreTile(rule, gradient: gradient, less: less, factor: factor, context: context) { tile in
        #expect(tile.rows.lowerBound == next)
        next = tile.rows.upperBound
        for row in 0..<tile.rows.count {
          for k in Int(tile.rowStarts[row])..<Int(tile.rowStarts[row + 1]) {
            let place = (tile.rows.lowerBound + row) * weights.columns + Int(tile.columnIndices[k])
            values[place] = tile.values[k]
            scores[place] = tile.score(at: k)
          }
        }
      }
      #expect(next == weights.rows)
    }
  }

  /// A dense network on OpenBLAS with the same seed has the same weights, to the bit, the same logits and the same gradients. At 99.9 % the rule
  /// leaves tiles no more than a few rows.
  @Test(arguments: ResidualAndTransformerTests.Tiny.allCases, [(1, 0.5), (5, 0.999), (33, 0.5), (33, 0.999)])
  func aProceduralNetworkIsItsDenseTwin(
    _ tiny: ResidualAndTransformerTests.Tiny, _ setting: (samples: Int, sparsity: Double)
  ) throws {
    let spec = try tiny.spec()
    let context = try ComputeContext(threads: 2)
    let random = CounterRandom(seed: 21)
    let dense = try Model(
      spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
    let factory = ProceduralLayerFactory(spec, sparsity: setting.sparsity, random: random, context: context)
    let procedural = try Model(spec, factory: factory, random: random, context: context)
    let images = TinyModels.images(spec, samples: setting.samples)
    let labels = (0..<setting.samples).map { $0 * 7 % 3 }
    let pass = try ModelPass(dense, images, labels: labels, context: context)

    let tape = Tape(context: context, mode: .training(step: 0))
    var factors = [[GradientFactors]](repeating: [], count: spec.weightLayers.count)
    tape.gradientFactorsVisitor = { factors[$0.index].append($1) }
    let logits = try procedural(Variable(ModelPass.activations(images, context)), on: tape)
    let found = ModelPass.numbers(logits.value)
    let largest = pass.logits.map(abs).max() ?? 0
    #expect(found.count == pass.logits.count && largest > 1e-3)
    #expect(zip(found, pass.logits).allSatisfy { abs($0 - $1) <= 1e-4 * largest })
    let delta = context.pool.activations(logits.shape)
    _ = labels.map(UInt32.init).withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    try tape.backward(from: logits, gradient: delta)

    for (index, layer) in spec.weightLayers.enumerated() {
      let name = layer.shape.name + ".weight"
      #expect(factors[index].count == 1)
      let shown = Shown(factory.weights[index], .signed, gradient: factors[index], context: context)
      let weights = try #require(dense.parameters.first { $0.name == name })
      let expected = weights.withMutableValues { Array($0) }
      #expect(shown.values == expected, "\(name)")
      let products = zip(expected, try #require(pass.gradients[name])).map { $0 * $1 }
      let most = products.map(abs).max() ?? 0
      #expect(most > 0 && zip(shown.scores, products).allSatisfy { abs($0 - $1) <= 3e-4 * most }, "\(name)")
      let magnitudes = Shown(factory.weights[index], .saliency, gradient: factors[index], context: context)
      #expect(magnitudes.scores == shown.scores.map(abs), "\(name)")
      // Twice the gradient, less the gradient; and a factor.
      let twice = Shown(
        factory.weights[index], .signed, gradient: factors[index] + factors[index], less: factors[index], factor: 2,
        context: context)
      #expect(zip(twice.scores, shown.scores).allSatisfy { abs($0 - 2 * $1) <= 1e-5 * most }, "\(name)")
    }
    try context.meter.check()
  }

  /// Layers wider than a tile, several of them high: many chunks in both directions.
  @Test(arguments: [2, 40]) func wideLayersAreSumsOfManyTiles(samples: Int) throws {
    let spec = try ModelSpec(
      name: "wide", input: FeatureSize(channels: 5), classes: 3,
      layers: [
        .linear(name: "a", outputs: 2100), .relu, .linear(name: "b", outputs: 1100), .linear(name: "c", outputs: 3),
      ])
    let context = try ComputeContext(threads: 2)
    let random = CounterRandom(seed: 4)
    let dense = try Model(
      spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
    let factory = ProceduralLayerFactory(spec, sparsity: 0.99, random: random, context: context)
    let procedural = try Model(spec, factory: factory, random: random, context: context)
    let images = TinyModels.images(spec, samples: samples)
    let labels = (0..<samples).map { $0 % 3 }
    let pass = try ModelPass(dense, images, labels: labels, context: context)
    let tape = Tape(context: context, mode: .training(step: 0))
    var factors: [Int: GradientFactors] = [:]
    tape.gradientFactorsVisitor = { factors[$0.index] = $1 }
    let logits = try procedural(Variable(ModelPass.activations(images, context)), on: tape)
    let delta = context.pool.activations(logits.shape)
    _ = labels.map(UInt32.init).withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    try tape.backward(from: logits, gradient: delta)
    for index in 0..<3 {
      let weights = factory.weights[index]
      let shown = Shown(weights, .signed, gradient: [try #require(factors[index])], context: context)
      let products = zip(shown.values, try #require(pass.gradients[weights.name + ".weight"])).map { $0 * $1 }
      let most = products.map(abs).max() ?? 0
      #expect(most > 0 && zip(shown.scores, products).allSatisfy { abs($0 - $1) <= 3e-4 * most }, "\(weights.name)")
    }
    try context.meter.check()
  }

  // MARK: Synaptic flow

  /// R = 1' |W_L| ... |W_1| 1 in Double: what SynFlow differentiates.
  private func flow(_ spec: ModelSpec, _ weights: [String: [Double]]) -> Double {
    func run(_ layers: [LayerSpec], _ x: OracleTensor) -> OracleTensor {
      layers.reduce(x) { x, layer in
        switch layer {
        case .batchNorm: x.map { $0 / (1 + 1e-5).squareRoot() }
        case .layerNorm, .relu, .gelu, .dropout: x
        case .convolution(let name, let outputs, let geometry, _):
          x.convolution(
            weights: weights[name + ".weight"]!, bias: [Double](repeating: 0, count: outputs),
            OracleKernel(
              height: geometry.kernelHeight, width: geometry.kernelWidth, stride: geometry.stride,
              padding: geometry.padding))
        case .linear(let name, let outputs, _):
          weights[name + ".weight"]!.count == outputs * x.channels
            ? x.convolution(
              weights: weights[name + ".weight"]!, bias: [Double](repeating: 0, count: outputs),
              OracleKernel(height: 1, width: 1))
            : x.linear(weights: weights[name + ".weight"]!, bias: [Double](repeating: 0, count: outputs))
        case .maxPool(let pool):
          x.pooled(kernel: pool.kernel, stride: pool.stride, padding: pool.padding) { $0.max()! }
        case .averagePool(let pool):
          x.pooled(kernel: pool.kernel, stride: pool.stride) { $0.reduce(0, +) / Double(pool.kernel * pool.kernel) }
        case .adaptiveAveragePool(let height, let width): x.adaptivelyPooled(height: height, width: width)
        case .globalAveragePool: x.globalAverage()
        case .flatten: x.flattened()
        case .residual(let body, let shortcut, _): run(body, x) + run(shortcut, x)
        case .paddedShortcut(let channels, let stride): x.paddedShortcut(outChannels: channels, stride: stride)
        case .patches(let size): x.patches(size: size)
        case .positionEmbedding: x + x.map { _ in 0 }.addingPositions().map(abs)
        case .attention(let heads, let size): Self.attention(x, heads: heads, size: size)
        }
      }
    }
    let count = spec.input.count
    let ones = OracleTensor(
      samples: 1, channels: spec.input.channels, height: spec.input.height, width: spec.input.width,
      values: [Double](repeating: 1, count: count))
    return run(spec.layers, ones).values.reduce(0, +)
  }

  /// q k' v / sqrt(size)
  private static func attention(_ x: OracleTensor, heads: Int, size: Int) -> OracleTensor {
    x.making(channels: heads * size, height: x.height, width: x.width) { sample, channel, query in
      let (head, d) = (channel / size, channel % size)
      return (0..<x.positions).reduce(0.0) { sum, key in
        let score = (0..<size).reduce(0.0) {
          $0 + x[sample, head * size + $1, query] * x[sample, (heads + head) * size + $1, key]
        }
        return sum + score * x[sample, (2 * heads + head) * size + d, key] / Double(size).squareRoot()
      }
    }
  }

  /// |w| dR/d|w| / R at some places of each layer, by central differences in Double. A maximum of ones decides no derivative, so that the
  /// specs' max pools see distinct numbers.
  @Test(arguments: ResidualAndTransformerTests.Tiny.allCases)
  func synapticFlowIsItsDerivative(_ tiny: ResidualAndTransformerTests.Tiny) throws {
    let spec = try tiny.spec()
    let context = try ComputeContext(threads: 2)
    let factory = ProceduralLayerFactory(
      spec, sparsity: 0.9, isMasked: true, takesMagnitudes: true, random: CounterRandom(seed: 8), context: context)
    var numbers: [String: [Double]] = [:]
    for weights in factory.weights {
      // A third of the weights is dead.
      for row in 0..<weights.rows where row % 2 == 0 {
        weights.mask?.clear(row: row)
        for column in 0..<weights.columns where (row + column) % 3 != 0 {
          weights.mask?.insert(row: row, column: column)
        }
      }
      let values = Shown(weights, .magnitude, gradient: [], context: context).values
      numbers[weights.name + ".weight"] = values.map { $0.isNaN ? 0 : Double($0) }
      #expect(values.allSatisfy { $0.isNaN || $0 >= 0 })
      #expect(values.contains { $0.isNaN })
    }
    let parts = try LinearizedModel(spec, weights: factory.weights, context: context).flow()
    let total = flow(spec, numbers)
    for (weights, part) in zip(factory.weights, parts) {
      let name = weights.name + ".weight"
      let shown = Shown(weights, .saliency, gradient: [part.factors], factor: part.scale, context: context)
      let values = try #require(numbers[name])
      let places = [0, 1, values.count / 2, values.count - 1].filter { !shown.scores[$0].isNaN }
      let expected = OracleDerivative.central(
        {
          var moved = numbers
          moved[name] = $0
          return flow(spec, moved)
        }, at: values, indices: places, step: 1e-5)
      for (place, derivative) in zip(places, expected) {
        let score = values[place] * derivative / total
        #expect(
          abs(Double(shown.scores[place]) - score) <= 1e-4 * score + 1e-9,
          "\(name)[\(place)]: \(shown.scores[place]), expected \(score)")
      }
    }
  }

  // MARK: Selection

  /// Scores with many ties, against sorting; from one a layer to all.
  @Test func selectionIsThatOfSorting() throws {
    var random = LayerRandom(seed: 31)
    let context = try ComputeContext(threads: 3)
    let shapes = [(7, 5), (1, 90), (64, 3), (5, 5)]
    // The second layer has the largest, the last one nothing but zeros of both signs.
    let layers = shapes.enumerated().map { index, shape in
      (0..<shape.0 * shape.1).map { _ in
        index == 3
          ? (Bool.random(using: &random) ? 0 : -0.0)
          : Float(Int.random(in: -4...4, using: &random)) * (index == 1 ? 1e3 : 0.25)
      }
    }
    func streams(_ rule: ScoreTile.Rule) -> [ScoreSelection.Stream] {
      zip(shapes, layers).map { shape, values in
        { body in
          let site = WeightSite(layer: "a", rows: shape.0, columns: shape.1, connections: shape.0 * shape.1)
          let tile = ScoreTile(height: 2, columns: shape.1, tag: .dense, site: site, meter: context.meter)
          let ones = [Float](repeating: 1, count: 2 * shape.1)
          for first in stride(from: 0, to: shape.0, by: 2) {
            values.withUnsafeBufferPointer {
              tile.gather(
                rows: first..<min(shape.0, first + 2), columns: shape.1, mask: nil, from: $0.baseAddress!,
                context: context)
            }
            ones.withUnsafeBufferPointer { tile.score(rule, gradients: $0.baseAddress, context: context) }
            try body(tile)
          }
        }
      }
    }
    let total = layers.reduce(0) { $0 + $1.count }
    for rule in [ScoreTile.Rule.magnitude, .saliency, .signed] {
      let ranked = layers.enumerated().flatMap { layer, values in
        values.enumerated().map { (score: rule == .signed ? $1 : abs($1), layer: layer, place: $0) }
      }.sorted { ($1.score, $0.layer, $0.place) < ($0.score, $1.layer, $1.place) }
      let first = layers.indices.map { layer in ranked.firstIndex { $0.layer == layer }! }
      for k in [4, 5, 9, 40, 90, 200, total - 1, total] {
        let chosen = Set(
          (first + ranked.indices.filter { !first.contains($0) }.prefix(k - 4)).map {
            [ranked[$0].layer, ranked[$0].place]
          })
        var found: Set<[Int]> = []
        try ScoreSelection(context: context).select(k, from: streams(rule)) { layer, tile, places in
          for place in places { found.insert([layer, tile.rows.lowerBound * shapes[layer].1 + Int(place)]) }
        }
        #expect(found == chosen, "\(rule), \(k)")
      }
    }
    #expect(throws: EspalierError.self) {
      try ScoreSelection(context: context).select(3, from: streams(.magnitude)) { _, _, _ in }
    }
    #expect(throws: EspalierError.self) {
      try ScoreSelection(context: context).select(total + 1, from: streams(.magnitude)) { _, _, _ in }
    }
  }
}
