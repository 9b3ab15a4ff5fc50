import EspalierBaselines
import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

import Espalier

/// Networks pruned before training: the same connections as a dense, slow reference in Double.
@Suite struct ScoredStartTests {
  private static func setup() throws -> TrainingSetup {
    var setup = try TrainingSetup.convolutional(steps: 12)
    setup.sparsity = 0.9
    return setup
  }

  private func model(
    _ score: StartScore, _ setup: TrainingSetup, _ context: ComputeContext
  ) throws -> (model: Model, start: UpdateRecord, cost: StartCost) {
    try Model.scored(
      setup.spec, by: score, sparsity: setup.sparsity, dataset: setup.dataset,
      normalization: TrainingSetup.normalization, options: setup.options, context: context)
  }

  /// The dense weights that the start is chosen from, by layer.
  private func dense(_ setup: TrainingSetup, _ context: ComputeContext) throws -> Model {
    let random = CounterRandom(seed: setup.options.seed)
    return try Model(
      setup.spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
  }

  private func weights(_ model: Model) -> [[Float]] {
    model.spec.weightLayers.map { layer in
      model.parameters.first { $0.name == layer.shape.name + ".weight" }!.withMutableValues { Array($0) }
    }
  }

  /// The k largest scores of the network, of equal ones the first, each layer's first largest among them. The cut must not be a matter
  /// of rounding: `gap` is the relative difference of what is chosen last and first not.
  private func largest(_ k: Int, of scores: [[Double]], gap: Double) -> Set<Connection> {
    let ranked = scores.enumerated().flatMap { layer, values in
      values.enumerated().map { (score: $1, layer: layer, place: $0) }
    }.sorted { ($1.score, $0.layer, $0.place) < ($0.score, $1.layer, $1.place) }
    let first = scores.indices.map { layer in ranked.firstIndex { $0.layer == layer }! }
    let rest = ranked.indices.filter { !first.contains($0) }
    let (last, next) = (ranked[rest[k - first.count - 1]].score, ranked[rest[k - first.count]].score)
    #expect(last - next > gap * last, "choose another seed: \(last), \(next)")
    return Set(
      (first + rest.prefix(k - first.count)).map {
        Connection(layer: ranked[$0].layer, row: 0, column: ranked[$0].place)
      })
  }

  /// As `largest` names them: by their place in the dense layer.
  private func chosen(_ model: Model) -> [Connection: Float] {
    Dictionary(
      uniqueKeysWithValues: model.sparseParameters.flatMap { parameter in
        parameter.weights.map {
          (
            Connection(
              layer: parameter.index, row: 0, column: $0.key.row * parameter.matrix.columns + $0.key.column), $0.value
          )
        }
      })
  }

  /// The survivors have the values of the dense start.
  private func expectValues(of model: Model, from weights: [[Float]]) {
    for (connection, value) in chosen(model) { #expect(value == weights[connection.layer][connection.column]) }
  }

  private func budget(_ setup: TrainingSetup) -> Int {
    Int(((1 - setup.sparsity) * Double(setup.spec.sparsifiableWeights)).rounded())
  }

  @Test func magnitudeKeepsTheLargestWeights() throws {
    let setup = try Self.setup()
    let context = try ComputeContext(threads: 2)
    let weights = weights(try dense(setup, context))
    let model = try model(.magnitude, setup, context).model
    let expected = largest(budget(setup), of: weights.map { $0.map { abs(Double($0)) } }, gap: 0)
    #expect(Set(chosen(model).keys) == expected)
    expectValues(of: model, from: weights)
  }

  /// Gradients of the dense twin on the same batches, with dropout and batch statistics.
  @Test(arguments: [40, 16]) func snipKeepsTheLargestSaliencies(batch: Int) throws {
    var setup = try Self.setup()
    setup.options.batchSize = batch
    let context = try ComputeContext(threads: 2)
    let twin = try dense(setup, context)
    let weights = weights(twin)
    var sums = weights.map { $0.map { _ in 0.0 } }
    var samples = 0
    let batches = try ScoringBatches(
      samplesPerClass: 10, spec: setup.spec, dataset: setup.dataset, normalization: TrainingSetup.normalization,
      options: setup.options, context: context)
    try batches.forEach { number, batch in
      let tape = Tape(context: context, mode: .training(step: number))
      let logits = try twin(Variable(batch.images), on: tape)
      let delta = context.pool.activations(logits.shape)
      _ = batch.labels.withUnsafeBufferPointer {
        context.softmaxCrossEntropy(
          logits.value, labels: $0, labelSmoothing: Float(setup.options.labelSmoothing), gradient: delta)
      }
      try tape.backward(from: logits, gradient: delta)
      for (i, layer) in setup.spec.weightLayers.enumerated() {
        let gradient = twin.parameters.first { $0.name == layer.shape.name + ".weight" }!.gradient.array
        for j in gradient.indices { sums[i][j] += Double(gradient[j]) }
      }
      samples += batch.labels.count
    }
    #expect(samples == (40 + batch - 1) / batch * batch)
    let scores = zip(weights, sums).map { zip($0, $1).map { abs(Double($0) * $1) } }
    let (model, start, cost) = try model(.snip, setup, context)
    #expect(Set(chosen(model).keys) == largest(budget(setup), of: scores, gap: 1e-5))
    expectValues(of: model, from: weights)
    #expect(cost.flops == Double(5 * setup.spec.denseForwardFlops * samples))
    #expect(start.step == 0 && start.nnz == budget(setup))
    #expect(start.layers.map(\.nnz) == model.connectionCounts)
    #expect(zip(start.layers, setup.spec.weightLayers).allSatisfy { $0.candidates == $1.shape.size })
  }

  /// All derivatives by central differences in Double: nothing of the tape has a part in it.
  @Test func snipIsThatOfTheLossInDouble() throws {
    let spec = try ModelSpec(
      name: "small", input: FeatureSize(channels: 1, height: 8, width: 8), classes: 4,
      layers: [
        .maxPool(PoolGeometry(kernel: 2)), .flatten, .linear(name: "a", outputs: 9), .relu,
        .linear(name: "b", outputs: 6), .relu, .linear(name: "c", outputs: 4),
      ])
    var setup = try Self.setup()
    setup.spec = spec
    setup.sparsity = 0.6
    setup.options.labelSmoothing = 0
    let context = try ComputeContext(threads: 1)
    let twin = try dense(setup, context)
    let oracle = SpecOracle(twin)
    let batches = try ScoringBatches(
      samplesPerClass: 10, spec: spec, dataset: setup.dataset, normalization: TrainingSetup.normalization,
      options: setup.options, context: context)
    var scores: [[Double]] = []
    try batches.forEach { _, batch in
      let images = OracleTensor(
        samples: 40, channels: 1, height: 8, width: 8,
        values: ModelPass.numbers(batch.images).map(Double.init))
      scores = spec.weightLayers.map { layer in
        let name = layer.shape.name + ".weight"
        let values = oracle.numbers[name] ?? []
        var moved = oracle
        let derivatives = OracleDerivative.central(
          {
            moved.numbers[name] = $0
            return moved.loss(images, labels: batch.labels.map(Int.init))
          }, at: values, indices: values.indices, step: 1e-6)
        return zip(values, derivatives).map { abs($0 * $1) }
      }
    }
    let model = try model(.snip, setup, context).model
    #expect(Set(chosen(model).keys) == largest(budget(setup), of: scores, gap: 1e-4))
  }

  /// A smooth network: the Hessian's product with the gradient by differences of derivatives in Double.
  @Test func graspIsTheHessiansProduct() throws {
    let spec = try ModelSpec(
      name: "smooth", input: FeatureSize(channels: 1, height: 8, width: 8), classes: 4,
      layers: [
        .patches(size: 4), .linear(name: "a", outputs: 2), .gelu, .linear(name: "b", outputs: 2), .gelu,
        .globalAveragePool, .linear(name: "c", outputs: 4),
      ])
    var setup = try Self.setup()
    setup.spec = spec
    setup.sparsity = 0.5
    setup.options.labelSmoothing = 0
    setup.options.batchSize = 100
    let context = try ComputeContext(threads: 2)
    let oracle = SpecOracle(try dense(setup, context))
    let batches = try ScoringBatches(
      samplesPerClass: 25, spec: spec, dataset: setup.dataset, normalization: TrainingSetup.normalization,
      options: setup.options, context: context)
    let names = spec.weightLayers.map { $0.shape.name + ".weight" }
    let sizes = names.map { oracle.numbers[$0]?.count ?? 0 }
    let start = names.flatMap { oracle.numbers[$0] ?? [] }
    var scores: [[Double]] = []
    try batches.forEach { _, batch in
      let images = OracleTensor(
        samples: 100, channels: 1, height: 8, width: 8, values: ModelPass.numbers(batch.images).map(Double.init))
      let labels = batch.labels.map(Int.init)
      func gradient(at point: [Double]) -> [Double] {
        var moved = oracle
        return OracleDerivative.central(
          { values in
            var first = 0
            for (name, size) in zip(names, sizes) {
              moved.numbers[name] = Array(values[first..<first + size])
              first += size
            }
            return moved.loss(images, labels: labels)
          }, at: point, indices: point.indices, step: 1e-3)
      }
      let g = gradient(at: start)
      let after = gradient(at: zip(start, g).map { $0 + 1e-3 * $1 })
      let before = gradient(at: zip(start, g).map { $0 - 1e-3 * $1 })
      let all = start.indices.map { start[$0] * (after[$0] - before[$0]) / 2e-3 }
      var first = 0
      scores = sizes.map { size in
        defer { first += size }
        return Array(all[first..<first + size])
      }
    }
    let (model, _, cost) = try model(.grasp, setup, context)
    #expect(Set(chosen(model).keys) == largest(budget(setup), of: scores, gap: 1e-4))
    #expect(scores.contains { $0.contains { $0 < 0 } })
    #expect(cost.flops == Double(17 * spec.denseForwardFlops * 100))
  }

  /// A hundred rounds of an MLP in Double, by plain loops.
  @Test(arguments: [0.5, 0.9, 0.95]) func synflowKeepsWhatFlows(sparsity: Double) throws {
    let sizes = [64, 24, 17, 4]
    let spec = try ModelSpec(
      name: "small", input: FeatureSize(channels: 1, height: 8, width: 8), classes: 4,
      layers: [
        .linear(name: "a", outputs: 24), .relu, .linear(name: "b", outputs: 17), .relu,
        .linear(name: "c", outputs: 4),
      ])
    var setup = try Self.setup()
    setup.spec = spec
    setup.sparsity = sparsity
    let context = try ComputeContext(threads: 2)
    let weights = weights(try dense(setup, context))
    var live = weights.map { $0.map { abs(Double($0)) } }
    let total = spec.sparsifiableWeights
    var survivors: Set<Connection> = []
    for round in 1...100 {
      var forward = [[Double](repeating: 1, count: 64)]
      for (l, w) in live.enumerated() {
        forward.append(
          (0..<sizes[l + 1]).map { o in (0..<sizes[l]).reduce(0) { $0 + w[o * sizes[l] + $1] * forward[l][$1] } })
      }
      var delta = [Double](repeating: 1, count: 4)
      var scores = live
      for l in live.indices.reversed() {
        for o in 0..<sizes[l + 1] {
          for i in 0..<sizes[l] { scores[l][o * sizes[l] + i] = live[l][o * sizes[l] + i] * delta[o] * forward[l][i] }
        }
        delta = (0..<sizes[l]).map { i in (0..<sizes[l + 1]).reduce(0) { $0 + live[l][$1 * sizes[l] + i] * delta[$1] } }
      }
      let k =
        round == 100 ? budget(setup) : Int((pow(1 - sparsity, Double(round) / 100) * Double(total)).rounded())
      survivors = largest(k, of: scores, gap: 0)
      for l in live.indices {
        for place in live[l].indices where !survivors.contains(Connection(layer: l, row: 0, column: place)) {
          live[l][place] = 0
        }
      }
    }
    let model = try model(.synflow, setup, context).model
    #expect(Set(chosen(model).keys) == survivors)
    #expect(survivors.count == budget(setup))
    expectValues(of: model, from: weights)
  }

  /// A network of any depth: numbers stay in range, each layer keeps some.
  @Test(arguments: ["resnet110", "vgg16-small", "simple-vit-tiny"]) func everyModelOfTheZooFlows(_ name: String) throws
  {
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(
        name: name, width: name == "simple-vit-tiny" ? 0.25 : name == "resnet110" ? 0.25 : 0.5,
        images: FeatureSize(channels: 3, height: 32, width: 32), classes: 10))
    let context = try ComputeContext(threads: 2)
    let factory = ProceduralLayerFactory(
      spec, sparsity: 0.98, isMasked: true, takesMagnitudes: true, random: CounterRandom(seed: 1), context: context)
    for (weights, flow) in zip(
      factory.weights, try LinearizedModel(spec, weights: factory.weights, context: context).flow())
    {
      var sum = 0.0
      weights.forEachScoreTile(.saliency, gradient: [flow.factors], factor: flow.scale, context: context) { tile in
        for place in 0..<tile.count { sum += Double(tile.score(at: place)) }
      }
      // All of R passes through a layer that nothing goes around; attention takes its input three times.
      #expect(sum > 0 && sum < (name == "simple-vit-tiny" ? 81.1 : 1.001), "\(weights.name): \(sum)")
      if name == "vgg16-small" { #expect(abs(sum - 1) < 1e-3, "\(weights.name): \(sum)") }
    }
  }

  @Test(arguments: StartScore.allCases) func theSameForAnyNumberOfThreads(_ score: StartScore) throws {
    var setup = try Self.setup()
    var hashes: Set<String> = []
    for threads in [1, 2, 3] {
      setup.threads = threads
      let context = try ComputeContext(threads: threads)
      let (model, start, cost) = try model(score, setup, context)
      #expect(model.connections == budget(setup) && model.connectionCounts.allSatisfy { $0 > 0 })
      #expect(start.nnz == budget(setup) && start.fraction == setup.sparsity)
      #expect((cost.flops > 0) == (score != .magnitude))
      setup.method = .static
      let run = try setup.make(model: model, context)
      let recorder = TrainingRecorder()
      recorder.onStep = { _ in #expect(model.connections == budget(setup)) }
      let result = try run.trainer.run(observer: recorder)
      #expect(result.trainFlopsPerSample == Double(3 * setup.spec.forwardFlops(connections: model.connectionCounts)))
      hashes.insert(model.weightsSHA256)
    }
    #expect(hashes.count == 1)
  }

  /// Large enough for the rule to bite; one bit a weight is no dense buffer, and is counted.
  @Test(arguments: StartScore.allCases) func neverGoesDense(_ score: StartScore) throws {
    var setup = try TrainingSetup.perceptron(steps: 2, hidden: [256, 64])
    setup.sparsity = 0.97
    let context = try ComputeContext(threads: 2)
    _ = try model(score, setup, context)
    #expect(context.meter.reading.violations.isEmpty)
    // The counters of the histograms, 65,536 a thread, are the largest.
    #expect(context.meter.reading.largestWeightBuffer <= 2 * 65_536 * 8)
  }

  @Test func aMaskIsOneBitAWeight() throws {
    let context = try ComputeContext(threads: 1)
    let site = WeightSite(layer: "a", rows: 300, columns: 130, connections: 3)
    let mask = ConnectionMask(rows: 300, columns: 130, site: site, meter: context.meter)
    #expect(mask.words.count == 900 && mask.count == 300 * 130)
    try context.meter.check()
    _ = MeteredBuffer<UInt64>(count: 901, tag: .mask, site: site, meter: context.meter)
    #expect(throws: EspalierError.self) { try context.meter.check() }
    mask.clear(row: 7)
    mask.insert(row: 7, column: 129)
    #expect(mask.count == 299 * 130 + 1 && mask[7, 129] && !mask[7, 128] && mask[6, 128])
    var numbers = [Float](repeating: 1, count: 300 * 130)
    numbers.withUnsafeMutableBufferPointer { mask.clear($0.baseAddress!) }
    #expect(numbers.count { $0 == 1 } == mask.count && numbers[7 * 130 + 129] == 1 && numbers[7 * 130] == 0)
  }

  @Test func fewerConnectionsThanLayersAreRefused() throws {
    var setup = try Self.setup()
    setup.sparsity = 0.9999
    let context = try ComputeContext(threads: 1)
    expectError(.usage, naming: "sparsity:") { _ = try model(.magnitude, setup, context) }
  }

  @Test(arguments: [StartScore.snip, .grasp]) func gradientsThatMemoryCannotHoldAreRefused(_ score: StartScore) throws {
    var setup = try Self.setup()
    setup.spec = try ModelSpec(
      name: "wide", input: FeatureSize(channels: 1, height: 8, width: 8), classes: 4,
      layers: [
        .convolution(name: "a", outChannels: 1 << 31, geometry: ConvolutionGeometry(kernel: 1)), .globalAveragePool,
        .linear(name: "b", outputs: 4),
      ])
    let context = try ComputeContext(threads: 1)
    expectError(.usage, naming: "wide: gradients of") { _ = try model(score, setup, context) }
  }
}
