import Espalier
import InMemoryLogging
// snippet
import Logging
// end
import Testing

@Suite struct WatchingARun {
  @Test func theBootstrapCompiles() throws {
    let run = try SmallRun()
    let model = try Model(sparse: run.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: run.context)
    let trainer = try Trainer(
      model: model, dataset: run.dataset, normalization: run.normalization, options: run.options, context: run.context)
    // snippet
    var logger = Logger(label: "training")
    logger.logLevel = .debug
    let result = try trainer.run(observer: LoggingObserver(logger))
    // end
    #expect(result.isFinished)
  }

  @Test func aRunIsSavedAndResumed() throws {
    let run = try SmallRun()
    let temporary = try TemporaryFolder()
    let (dataset, normalization, request, spec) = (run.dataset, run.normalization, run.request, run.spec)
    let (options, context, folder) = (run.options, run.context, temporary.path)
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let updater = try GSE(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3))
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: normalization, options: options, updater: updater,
      context: context)
    // snippet
    final class SaveEveryEpoch: TrainingObserver {
      private let save: () throws -> Void
      private let lastStep: Int

      init(upTo lastStep: Int = .max, save: @escaping () throws -> Void) {
        self.save = save
        self.lastStep = lastStep
      }

      private(set) var wantsStop = false

      func mayCheckpoint(step: Int, endsEpoch: Bool) throws {
        wantsStop = step >= lastStep
        if endsEpoch || wantsStop { try save() }
      }
    }
    // end

    // snippet
    let store = CheckpointStore(run: folder, keep: 2)
    let information = Checkpoint.Information(
      model: request, dataset: dataset.name, method: "gse", seed: options.seed, step: 0, batchSize: options.batchSize)
    let observer = SaveEveryEpoch(upTo: 33) {
      try store.save(trainer, information, configuration: "", data: dataset.fingerprint, best: nil)
    }
    try trainer.run(observer: observer)
    // end
    #expect(trainer.progress.step == 33)
    #expect(store.steps == [20, 33])

    // snippet
    guard let (step, state) = store.newest(onDamage: { print("skipping \($0): \($1)") }) else { return }
    let stored = try Checkpoint(path: store.path(step: step)).sparseModel(context: context)
    let resumed = try Trainer(
      model: stored, dataset: dataset, normalization: normalization, options: options, updater: updater,
      context: context)
    try store.restore(resumed, step: step, state: state)
    let result = try resumed.run()
    // end
    #expect(result.isFinished && result.steps == 60)
    let undisturbed = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    try Trainer(
      model: undisturbed, dataset: dataset, normalization: normalization, options: options, updater: updater,
      context: context
    ).run()
    #expect(undisturbed.weightsSHA256 == stored.weightsSHA256)
  }

  @Test func aLoggerIsTold() throws {
    let run = try SmallRun()
    let model = try Model(sparse: run.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: run.context)
    let trainer = try Trainer(
      model: model, dataset: run.dataset, normalization: run.normalization, options: run.options,
      updater: SET(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: run.context)
    let backend = InMemoryLogHandler()
    var logger = Logger(label: "training") { _ in backend }
    logger.logLevel = .debug
    try trainer.run(observer: LoggingObserver(logger))
    let updates = backend.entries.filter { $0.level == .debug }
    #expect(updates.map(\.message) == [11, 21, 31, 41].map { "topology updated in step \($0)" })
    #expect(updates.allSatisfy { $0.metadata["nnz"] == "\(model.connections)" })
    let epochs = backend.entries.filter { $0.level == .info }
    #expect(epochs.map(\.message) == ["epoch 1 finished", "epoch 2 finished", "epoch 3 finished"])
    #expect(epochs.last?.metadata["test_accuracy"] == "\(trainer.progress.history[2].testAccuracy)")
    #expect(backend.entries.count == 7)
  }
}
