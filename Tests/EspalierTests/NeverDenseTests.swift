import Espalier
import EspalierCore
import EspalierTopology
import Testing

/// No buffer of a whole run has the size of a dense weight matrix.
@Suite struct NeverDenseTests {
  @Test(arguments: [TrainingSetup.Method.static, .gse, .set], SelectionScope.allCases)
  func aWholeRunKeepsTheRule(_ method: TrainingSetup.Method, scope: SelectionScope) throws {
    for mode in UpdateMode.allCases {
      var setup = try TrainingSetup.perceptron(steps: 40, hidden: [256, 128])
      setup.sparsity = 0.95
      setup.method = method
      setup.scope = scope
      setup.mode = mode
      let (run, _, _) = try setup.train()
      let reading = run.context.meter.reading
      #expect(reading.violations.isEmpty, "\(reading.violations)")
      try run.context.meter.check()
      #expect(reading.largestWeightBuffer < 256 * 784 * 4)
      #expect(reading.weightBytes >= run.model.weightStateBytes)
      #expect(reading.peakWeightBytes >= reading.weightBytes)
    }
  }

  /// A temporary as large as a dense gradient is caught, though it lives for a moment only.
  @Test(arguments: [AllocationTag.gradient, .values, .candidates, .selection, .optimizer, .structure, .transfer])
  func aDenseTemporaryIsCaught(_ tag: AllocationTag) throws {
    let run = try TrainingSetup.perceptron(steps: 1, hidden: [256, 128]).make()
    let matrix = run.model.sparseParameters[0].matrix
    #expect(throws: Never.self) { try run.context.meter.check() }
    _ = MeteredBuffer<Float>(
      count: matrix.rows * matrix.columns, tag: tag, site: matrix.site, meter: run.context.meter)
    expectError(.invariant, naming: "never dense: \(tag.rawValue) buffer of layer layers.0 (256 x 784") {
      try run.context.meter.check()
    }
    #expect(run.context.meter.reading.violations.count == 1)
  }

  /// The trainer itself looks: an updater with a dense temporary does not get past its first update.
  @Test func theTrainerStopsAnUpdaterThatGoesDense() throws {
    struct Dense: TopologyUpdater {
      let schedule = UpdateSchedule(interval: 3, end: 100, fraction: 0.1)
      let inner = SET(schedule: UpdateSchedule(interval: 3, end: 100, fraction: 0.1))
      func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
        let matrix = layer.weights.matrix
        _ = MeteredBuffer<Float>(
          count: matrix.rows * matrix.columns, tag: .gradient, site: matrix.site, meter: matrix.meter)
        return inner.candidates(in: layer, step: step, random: random)
      }
      func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
        inner.changes(for: layers, step: step, random: random)
      }
    }
    let setup = try TrainingSetup.perceptron(steps: 10)
    let context = try ComputeContext(threads: 1)
    let model = try Model(sparse: setup.spec, sparsity: 0.95, random: CounterRandom(seed: 0), context: context)
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      updater: Dense(), context: context)
    let recorder = TrainingRecorder()
    expectError(.invariant, naming: "never dense:") { _ = try trainer.run(observer: recorder) }
    #expect(recorder.steps.count == 3)
  }
}
