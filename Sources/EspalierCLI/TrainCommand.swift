import ArgumentParser
import Espalier
import EspalierBaselines
import EspalierCore
import EspalierData
import EspalierTopology
import Foundation

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Trains a network and writes a run's folder.")

  @OptionGroup var flags: TrainFlags
  @Flag(help: "Print the result as one JSON object.") var json = false
  @Flag(help: "Print the resolved configuration and the plan, and train nothing.") var dryRun = false

  func run() throws {
    let configuration = try flags.resolve()
    if dryRun { return try DryRun(configuration).print(asJSON: json) }
    let context = try ComputeContext(threads: configuration.threads, gamma: configuration.gamma)
    let session = try TrainingSession(configuration, context: context)
    let folder = try RunFolder(configuration, context: context)
    try session.run(in: folder, printingJSON: json)
  }
}

/// One training run: the data, the model, the method, made from a configuration.
struct TrainingSession {
  let configuration: RunConfiguration
  let context: ComputeContext
  let model: Model
  let trainer: Trainer
  private let request: ModelCatalog.Request
  private let dataset: ImageDataset

  init(_ configuration: RunConfiguration, context: ComputeContext) throws {
    self.configuration = configuration
    self.context = context
    let description = try DatasetCatalog.description(of: configuration.dataset, directory: configuration.dataDir)
    request = configuration.modelRequest(for: description)
    let spec = try ModelCatalog.spec(request)
    let random = CounterRandom(seed: configuration.seed)
    dataset = try DatasetCatalog.load(name: configuration.dataset, directory: configuration.dataDir)
    let timetable = try TrainingTimetable(configuration.trainingOptions, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(
      interval: configuration.updateEvery, until: configuration.updateUntil, alpha: configuration.alpha)
    let updater: (any TopologyUpdater)? =
      switch configuration.method {
      case .gse: try GSE(schedule: schedule, gamma: configuration.gamma, scope: configuration.scope)
      case .set: SET(schedule: schedule, scope: configuration.scope)
      case .static, .dense: nil
      }
    let weights = try configuration.initialWeights.map { try WeightsFile(path: $0) }
    if configuration.method == .dense {
      let factory = DenseLayerFactory(random: random, context: context)
      model = try Model(spec, factory: factory, random: random, context: context)
      if let weights { try model.load(weights) }
    } else if let weights {
      model = try Model(spec, weights: weights, random: random, context: context)
    } else {
      model = try Model(
        sparse: spec, sparsity: configuration.sparsity, distribution: configuration.distribution.distribution,
        random: random, context: context)
    }
    trainer = try Trainer(
      model: model, dataset: dataset, normalization: description.normalization,
      options: configuration.trainingOptions, updater: updater, updateMode: configuration.updateMode,
      context: context)
  }

  private var connections: Int {
    model.sparseParameters.isEmpty ? model.spec.sparsifiableWeights : model.connections
  }
}

extension TrainingSession {
  /// Trains, with checkpoints on the way, and prints the result.
  ///
  /// - Throws: `InterruptedRun` where the run was asked to stop, `StoppedRun` for errors.
  func run(in folder: RunFolder, printingJSON json: Bool) throws {
    let stop = StopRequest(maxTime: try configuration.maxTime.map(TimeLimit.init))
    stop.listen()
    let reporter = ProgressReporter(folder: folder, timetable: trainer.timetable, stop: stop)
    do {
      let result = try train(reporter: reporter, folder: folder)
      guard result.isFinished else {
        let reason = stop.reason ?? "stopped"
        reporter.log("stopped at step \(result.steps): \(reason)")
        if json { try Terminal.json(StoppedResult(stopped: reason, run: folder.path, steps: result.steps)) }
        throw InterruptedRun(reason: reason, step: result.steps, folder: folder.path)
      }
      let verdict = RunResult(
        configuration, model: model, result: result, best: best, context: context, folder: folder.path)
      try folder.write(verdict, to: "result.json")
      if json { try Terminal.json(verdict) } else { try Terminal.result(verdict.summary(folder: folder.path)) }
    } catch let error as EspalierError {
      reporter.log("stopped: \(error.message)")
      if json, error.kind == .diverged {
        try Terminal.json(StoppedResult(stopped: error.message, run: folder.path, steps: trainer.progress.step))
      }
      throw StoppedRun(error: error)
    }
  }

  /// What `--json` prints of a run that did not come to its end.
  private struct StoppedResult: Encodable {
    let stopped, run: String
    let steps: Int
  }

  private func train(reporter: ProgressReporter, folder: RunFolder) throws -> TrainingResult {
    let sparsity = 1 - Double(connections) / Double(model.spec.sparsifiableWeights)
    reporter.log(
      "\(configuration.model) on \(configuration.dataset), \(configuration.method.rawValue): \(connections) of \(model.spec.sparsifiableWeights) weights (\(String(format: "%.2f", 100 * sparsity)) % sparse), \(trainer.timetable.steps) steps, \(context.threads) threads, \(context.instructionSet)"
    )
    let store = CheckpointStore(run: folder.path, keep: configuration.keep)
    reporter.onCheckpoint = { step, endsEpoch in
      let isBest = endsEpoch && step == bestStep
      guard step % configuration.checkpointEvery == 0 || step == trainer.timetable.steps || isBest else { return }
      try save(to: store)
    }
    let result = try trainer.run(observer: reporter)
    for line in dataset.damageLines { reporter.log(line) }
    if configuration.method != .dense { try context.meter.check() }
    if !result.isFinished { try save(to: store) }
    return result
  }

  private func save(to store: CheckpointStore) throws {
    let step = trainer.progress.step
    let information = Checkpoint.Information(
      model: request, dataset: configuration.dataset, method: configuration.method.rawValue,
      seed: configuration.seed, step: step, batchSize: configuration.batchSize)
    try store.save(step: step, best: bestStep) {
      try Checkpoint.save(model, information, to: $0, temporary: store.run)
    }
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
