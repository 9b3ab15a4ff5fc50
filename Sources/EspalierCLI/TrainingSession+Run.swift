import Espalier
import EspalierCore
import Foundation

extension TrainingSession {
  /// Trains, with checkpoints on the way, and prints the result.
  ///
  /// - Throws: `InterruptedRun` where the run was asked to stop, `StoppedRun` for errors.
  func run(_ run: BegunRun) throws {
    let folder = run.folder
    let reporter = ProgressReporter(
      folder: folder, timetable: trainer.timetable, firstStep: trainer.progress.step, stop: run.stop)
    do {
      folder.board = try TensorBoardLog(
        run: folder.path, progress: trainer.progress, timetable: trainer.timetable, model: model)
      let result = try train(reporter: reporter, folder: folder)
      guard result.isFinished else {
        let interruption = try run.interruption(at: result.steps, log: reporter.log)
        throw interruption
      }
      let verdict = RunResult(
        configuration, model: model, result: result, start: trainer.progress.start, best: best, context: context,
        folder: folder)
      try folder.write(verdict, to: "result.json")
      ReportCommand.writeIfPossible(ofRun: folder.path)
      if run.printsJSON {
        try Terminal.json(verdict)
      } else {
        try Terminal.result(verdict.summary(folder: folder.path))
      }
    } catch let error as EspalierError {
      let good = error.kind == .diverged ? store(in: folder).dropBroken(after: trainer) : nil
      let failure = try run.failure(error, at: trainer.progress.step, checkpoint: good, log: reporter.log)
      throw failure
    }
  }

  private func store(in folder: RunFolder) -> CheckpointStore {
    CheckpointStore(run: folder.path, keep: configuration.keep)
  }

  /// Trains as one of several ranks that neither writes nor tells anything.
  ///
  /// - Parameter stop: is passed on to all.
  /// - Throws: `InterruptedRun` where the run was asked to stop.
  func follow(_ stop: StopRequest) throws {
    let result = try trainer.run(observer: Follower(stop: stop))
    guard result.isFinished else { throw InterruptedRun(reason: "stopped", step: result.steps, folder: "") }
  }

  /// Passes on what signals ask for.
  private struct Follower: TrainingObserver {
    let stop: StopRequest

    var wantsStop: Bool { stop.reason != nil }
  }

  private var connections: Int {
    model.connectionCounts.reduce(0, +)
  }

  private func train(reporter: ProgressReporter, folder: RunFolder) throws -> TrainingResult {
    let size = Launch.current.size
    let ranks = size > 1 ? "\(size) ranks of " : ""
    let sparsity = 1 - Double(connections) / Double(model.spec.sparsifiableWeights)
    reporter.log(
      "\(configuration.model) on \(configuration.dataset), \(configuration.method.rawValue): \(connections) of \(model.spec.sparsifiableWeights) weights (\(String(format: "%.2f", 100 * sparsity)) % sparse), \(trainer.timetable.steps) steps, \(ranks)\(context.threads) threads, \(context.instructionSet)"
    )
    if let start { try reporter.didUpdateTopology(start) }
    let store = store(in: folder)
    var newest: Int? = trainer.progress.step
    reporter.onCheckpoint = { step, endsEpoch in
      // This step's loss was finite, so the checkpoint before it is good.
      if let good = newest { store.prune(upTo: good, best: bestStep) }
      newest = nil
      let isBest = endsEpoch && step == bestStep
      guard step % configuration.checkpointEvery == 0 || step == trainer.timetable.steps || isBest else { return }
      try save(to: store, of: folder)
      newest = step
    }
    defer { for line in dataset.damageLines { reporter.log(line) } }
    let result = try trainer.run(observer: reporter)
    if !configuration.method.isDense { try context.meter.check() }
    if !result.isFinished { try save(to: store, of: folder) }
    return result
  }

  private func save(to store: CheckpointStore, of folder: RunFolder) throws {
    let started = ContinuousClock.now
    try folder.synchronize()
    try save(to: store, configuration: folder.configuration)
    folder.checkpointSeconds += (ContinuousClock.now - started).seconds
  }

  /// Writes a checkpoint of the present state.
  func save(to store: CheckpointStore, configuration text: String) throws {
    let information = Checkpoint.Information(
      model: request, dataset: configuration.dataset, method: configuration.method.rawValue,
      seed: configuration.seed, step: trainer.progress.step, batchSize: configuration.batchSize)
    try store.save(trainer, information, configuration: text, data: data, best: bestStep)
  }

  /// The step of the best epoch by validation.
  private var bestStep: Int? {
    trainer.progress.history.bestByValidation.map {
      min($0.epoch * trainer.timetable.stepsPerEpoch, trainer.timetable.steps)
    }
  }

  private var best: RunResult.Best? {
    guard let record = trainer.progress.history.bestByValidation, let step = bestStep else { return nil }
    return RunResult.Best(
      epoch: record.epoch, checkpoint: CheckpointStore.relativePath(step: step),
      validationAccuracy: record.validationAccuracy ?? 0, testAccuracy: record.testAccuracy)
  }
}
