import Espalier
import EspalierCore
import EspalierData
import EspalierTopology
import Testing

/// GSE's candidates scored by more batches than the step's own, and compared with the whole gradient.
@Suite struct ExtraBatchesTests {
  private func train(
    _ setup: TrainingSetup, threads: Int = 2
  ) throws -> (run: TrainingRun, result: TrainingResult, recorder: TrainingRecorder) {
    var setup = setup
    setup.threads = threads
    return try setup.train()
  }

  /// The candidates' gradients are summed over batches: GSE, told to keep what it saw.
  private final class Seen: @unchecked Sendable {
    var scores: [[Float]] = []
    var gradients: [[Float]] = []
  }

  private struct Spy: TopologyUpdater {
    var gse: GSE
    let seen: Seen
    var schedule: UpdateSchedule { gse.schedule }
    func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
      gse.candidates(in: layer, step: step, random: random)
    }
    mutating func changes(
      for layers: [LayerCandidates], step: Int, random: CounterRandom
    ) -> [TopologyChange] {
      seen.scores = layers.map { $0.scores?.array ?? [] }
      seen.gradients = layers.map { $0.gradients?.array ?? [] }
      return gse.changes(for: layers, step: step, random: random)
    }
  }

  /// What GSE saw in step 2 of a run on 64 images whose weights do not move.
  private func seen(batchSize: Int, extraBatches: Int) throws -> Seen {
    var setup = try TrainingSetup.perceptron(steps: 2, hidden: [24, 16])
    setup.dataset = try ImageDataset.synthetic(trainCount: 64, testCount: 10, seed: 7)
    setup.options.batchSize = batchSize
    setup.options.extraBatches = extraBatches
    setup.options.learningRate = 1e-30
    let context = try ComputeContext(threads: 2)
    let model = try Model(sparse: setup.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let seen = Seen()
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      updater: Spy(gse: try GSE(schedule: UpdateSchedule(interval: 1, end: 2, fraction: 0.3)), seen: seen),
      context: context)
    _ = try trainer.run()
    return seen
  }

  /// Two batches of 32 of a random order are all 64 images: the sum of their mean gradients is twice the gradient of one batch of 64.
  @Test func scoresAreSumsOverBatches() throws {
    let halves = try seen(batchSize: 32, extraBatches: 2)
    let whole = try seen(batchSize: 64, extraBatches: 0)
    #expect(whole.scores.allSatisfy(\.isEmpty) && halves.scores.map(\.count) == whole.gradients.map(\.count))
    for (layer, expected) in whole.gradients.enumerated() {
      let rest = zip(halves.scores[layer], halves.gradients[layer]).map { $0 - $1 }
      let largest = expected.map { abs($0) }.max() ?? 0
      #expect(largest > 0 && !rest.isEmpty)
      #expect(zip(rest, expected).allSatisfy { abs($0 - 2 * $1) < 1e-4 * largest })
    }
    let twice = try seen(batchSize: 64, extraBatches: 1)
    for (scores, gradients) in zip(twice.scores, twice.gradients) {
      let largest = gradients.map { abs($0) }.max() ?? 0
      #expect(zip(scores, gradients).allSatisfy { abs($0 - 2 * $1) < 1e-4 * largest })
    }
  }

  /// Running statistics, and in mode add everything but the connections that grow, are as without.
  @Test(arguments: UpdateMode.allCases)
  func nothingElseMoves(mode: UpdateMode) throws {
    var setup = try TrainingSetup.convolutional(steps: 6)
    setup.mode = mode
    setup.options.epochs = 2
    setup.alpha = 1e-9  // one connection a layer
    let alone = try train(setup)
    setup.options.extraBatches = 3
    let more = try train(setup)
    #expect(alone.recorder.updates.map(\.step) == [6] && more.recorder.updates.map(\.step) == [6])
    for (a, b) in zip(alone.run.model.state, more.run.model.state) {
      guard case .dense(let name, _, let first) = a, case .dense(_, _, let second) = b else { continue }
      #expect(first.array.map(\.bitPattern) == second.array.map(\.bitPattern), "\(name)")
    }
    for (a, b) in zip(alone.run.model.sparseParameters, more.run.model.sparseParameters) {
      let (first, second) = (a.weights, b.weights)
      let common = Set(first.keys).intersection(second.keys)
      #expect(common.count >= first.count - 1)
      #expect(common.allSatisfy { first[$0] == second[$0] })
    }
  }

  @Test func theyChangeWhatGrowsAndCost() throws {
    var setup = try TrainingSetup.convolutional()
    let alone = try train(setup)
    setup.options.extraBatches = 2
    let results = try [1, 2, 3].map { try train(setup, threads: $0) }
    #expect(Set(results.map(\.run.model.weightsSHA256)).count == 1)
    #expect(results[0].run.model.weightsSHA256 != alone.run.model.weightsSHA256)
    #expect(results[0].run.model.connections == alone.run.model.connections)
    // METHODS: of each extra batch a forward pass, an input gradient, and the candidates' gradients.
    let positions = [64, 16, 1, 1]
    func flops(_ counts: [Int]) -> Int { zip(counts, positions).reduce(0) { $0 + 2 * $1.0 * $1.1 } }
    func total(_ result: TrainingResult, _ recorder: TrainingRecorder, extra: Int) -> Double {
      let counts = alone.run.model.connectionCounts
      let perStep = Double(3 * flops(counts))
      return recorder.updates.reduce(perStep * 24) { sum, update in
        sum - Double(flops(counts)) + Double(flops(update.layers.map(\.candidates)) * (1 + extra))
          + Double(2 * flops(counts) * extra)
      } / 24
    }
    #expect(
      abs(alone.result.trainFlopsPerSample - total(alone.result, alone.recorder, extra: 0)) < 1e-6)
    #expect(
      abs(results[0].result.trainFlopsPerSample - total(results[0].result, results[0].recorder, extra: 2)) < 1e-6)
  }

  @Test func tooManyAreRefused() throws {
    var setup = try TrainingSetup.convolutional()
    setup.options.extraBatches = 6
    expectError(.usage, naming: "extra-batches: 6 x 40 is more than the 230 training samples") { _ = try setup.make() }
    setup.options.extraBatches = -1
    expectError(.usage, naming: "extra-batches: -1") { _ = try setup.make() }
  }

  /// An audit is told in the records and changes neither weights nor counted operations.
  @Test(arguments: [1, 3, 1000])
  func auditsOnlyLook(rows: Int) throws {
    var setup = try TrainingSetup.convolutional()
    let alone = try train(setup)
    setup.options.audit = rows
    let audited = try train(setup)
    #expect(audited.run.model.weightsSHA256 == alone.run.model.weightsSHA256)
    #expect(audited.result.trainFlopsPerSample == alone.result.trainFlopsPerSample)
    for update in audited.recorder.updates {
      for (layer, outputs) in zip(update.layers, [8, 16, 32, 4]) {
        #expect(layer.auditedRows == min(rows, outputs))
        #expect(layer.grown == 0 || (0...1).contains(layer.recall ?? -1))
        #expect(layer.rankCorrelation == nil, "the uniform guide does not vary")
      }
    }
    #expect(alone.recorder.updates.allSatisfy { $0.layers.allSatisfy { $0.auditedRows == nil && $0.recall == nil } })
  }
}
