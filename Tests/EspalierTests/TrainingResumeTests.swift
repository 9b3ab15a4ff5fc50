import Espalier
import EspalierCore
import Testing

@Suite struct TrainingResumeTests {
  static let changes: [@Sendable (inout TrainingSetup) -> Void] = [
    { _ in },
    {
      $0.options.optimizer = .adamw; $0.options.learningRate = 1e-3; $0.options.schedule = .cosine
    },
    {
      $0.mode = .add; $0.scope = .global; $0.options.augments = true; $0.options.clipNorm = 1
    },
    {
      $0.options.accumulate = 2; $0.options.batchSize = 32; $0.options.validation = 0.1; $0.method = .set
    },
    {
      $0.method = .static; $0.options.shuffles = false
    },
    {
      $0.options.extraBatches = 2; $0.options.audit = 3; $0.options.powerprop = 2; $0.options.deepHoyer = 1e-3
    },
  ]

  /// Steps 28 (with validation) and 31 end an epoch, step 11 is an update.
  @Test(arguments: 0..<6, [1, 11, 28, 31, 69, 70])
  func aResumedRunEndsAsIfItHadNeverStopped(_ change: Int, stop: Int) throws {
    let saved = try SavedRun(Self.changes[change])
    let whole = try saved.setup.train()
    var setup = saved.setup
    setup.threads = 1
    let first = try setup.make()
    let stopped = try first.trainer.run(observer: StoppingObserver(after: stop))
    #expect(!stopped.isFinished && stopped.steps == stop)
    try saved.save(first)
    let second = try #require(try saved.load(threads: 3))
    #expect(second.trainer.progress == first.trainer.snapshot)
    let result = try second.trainer.run()
    #expect(result.isFinished && result.steps == 70)
    #expect(second.model.weightsSHA256 == whole.run.model.weightsSHA256)
    #expect(result.history == whole.result.history)
    #expect(result.updates == whole.result.updates)
    #expect(result.explorationRate == whole.result.explorationRate)
    #expect(result.trainFlopsPerSample == whole.result.trainFlopsPerSample)
    #expect(result.trainSeconds >= stopped.trainSeconds)
    for (a, b) in zip(second.model.parameters, whole.run.model.parameters) {
      #expect(a.optimizerState.map(\.array) == b.optimizerState.map(\.array))
    }
    try second.context.meter.check()
  }

  /// Wants a stop when so many images of an evaluation are done.
  private final class EvaluationStopper: TrainingObserver {
    let samples: Int
    private(set) var wantsStop = false
    private(set) var checkpoints: [Int] = []

    init(afterSamples samples: Int) { self.samples = samples }

    func didEvaluate(_ samples: Int, of count: Int, epoch: Int) { if samples >= self.samples { wantsStop = true } }

    func mayCheckpoint(step: Int, endsEpoch: Bool) { checkpoints.append(step) }
  }

  /// With and without validation: a stop within an epoch's evaluation, which a resumed run makes again.
  @Test(arguments: [0, 3]) func anEvaluationThatIsStoppedIsMadeAgain(_ change: Int) throws {
    let saved = try SavedRun(Self.changes[change])
    let whole = try saved.setup.train()
    let first = try saved.setup.make()
    let observer = EvaluationStopper(afterSamples: 1)
    let stopped = try first.trainer.run(observer: observer)
    #expect(!stopped.isFinished && stopped.history.isEmpty)
    #expect(stopped.steps > 1 && !observer.checkpoints.contains(stopped.steps))
    try saved.save(first)
    let second = try #require(try saved.load(threads: 1))
    let result = try second.trainer.run()
    #expect(result.isFinished && result.history == whole.result.history)
    #expect(second.model.weightsSHA256 == whole.run.model.weightsSHA256)
  }

  /// Updates are in steps 6, 11, 16 and 21; DeepR's records in 5, 10, 15 and 20.
  @Test(arguments: MethodTrainingTests.Method.allCases, [6, 8, 16, 21])
  func everyMethodGoesOnAsIfItHadNeverStopped(_ method: MethodTrainingTests.Method, stop: Int) throws {
    let saved = try SavedRun {
      $0.options.maxSteps = 24
      if method == .granet { $0.sparsity = 0.5 }
    }
    let whole = try saved.make(method)
    let result = try whole.trainer.run()
    let first = try saved.make(method, threads: 1)
    _ = try first.trainer.run(observer: StoppingObserver(after: stop))
    try saved.save(first)
    let second = try saved.load(method, threads: 3)
    #expect(second.trainer.progress == first.trainer.snapshot)
    let resumed = try second.trainer.run()
    #expect(resumed.isFinished && resumed.history == result.history)
    #expect(second.model.weightsSHA256 == whole.model.weightsSHA256)
    #expect(resumed.explorationRate == result.explorationRate)
    // A layer that GraNet makes this sparse has no room for all that it explored.
    #expect((result.explorationRate == nil) == (method == .granet))
    let topology = try #require(whole.trainer.snapshot.topology)
    #expect(second.trainer.snapshot.topology == topology)
    for (a, b) in zip(second.model.sparseParameters, whole.model.sparseParameters) {
      #expect(a.topologyState.map(\.array) == b.topologyState.map(\.array))
      #expect(a.topologyState.isEmpty == (method != .deepr))
      #expect(a.optimizerState.map(\.array) == b.optimizerState.map(\.array))
    }
    if method == .topkast, stop < 20 {
      let tensors = try SafetensorsFile(path: saved.store.path(step: stop) + "/training.safetensors")
      for parameter in first.model.sparseParameters {
        #expect(tensors.entry(named: "remembered.\(parameter.layerName).values") != nil)
      }
    }
    if method == .granet { #expect(second.model.connections == saved.finalConnections) }
    try second.context.meter.check()
  }

  @Test func aFinishedRunHasNothingLeftToDo() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let result = try run.trainer.run()
    try saved.save(run)
    let again = try #require(try saved.load())
    let recorder = TrainingRecorder()
    let same = try again.trainer.run(observer: recorder)
    #expect(recorder.steps.isEmpty && recorder.epochs.isEmpty)
    #expect(same.isFinished && same.history == result.history)
    #expect(same.stepMillisecondsMedian == result.stepMillisecondsMedian)
  }
}
