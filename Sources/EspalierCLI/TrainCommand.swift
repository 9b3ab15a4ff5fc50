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

  func run() throws {
    let configuration = try flags.resolve()
    let context = try ComputeContext(threads: configuration.threads, gamma: configuration.gamma)
    let session = try TrainingSession(configuration, context: context)
    let folder = try RunFolder(configuration, context: context)
    let reporter = ProgressReporter(folder: folder, timetable: session.trainer.timetable)
    do {
      let result = try session.run(reporter: reporter, folder: folder)
      try folder.write(result, to: "result.json")
      if json { try Terminal.json(result) } else { try Terminal.result(result.summary(folder: folder.path)) }
    } catch let error as EspalierError {
      reporter.log("stopped: \(error.message)")
      if json, error.kind == .diverged {
        try Terminal.json(["stopped": error.message, "run": folder.path])
      }
      throw StoppedRun(error: error)
    }
  }
}

/// One training run: the data, the model, the method, made from a configuration.
struct TrainingSession {
  let configuration: RunConfiguration
  let context: ComputeContext
  let model: Model
  let trainer: Trainer
  private let request: ModelCatalog.Request

  init(_ configuration: RunConfiguration, context: ComputeContext) throws {
    self.configuration = configuration
    self.context = context
    let description = try DatasetCatalog.description(of: configuration.dataset)
    request = configuration.modelRequest(for: description)
    let spec = try ModelCatalog.spec(request)
    let random = CounterRandom(seed: configuration.seed)
    let dataset = try DatasetCatalog.load(name: configuration.dataset, directory: configuration.dataDir)
    let timetable = try TrainingTimetable(configuration.trainingOptions, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(
      interval: configuration.updateEvery, until: configuration.updateUntil, alpha: configuration.alpha)
    if configuration.method == .dense {
      let factory = DenseLayerFactory(random: random, context: context)
      model = try Model(spec, factory: factory, random: random, context: context)
    } else {
      model = try Model(
        sparse: spec, sparsity: configuration.startSparsity, distribution: configuration.distribution.distribution,
        random: random, context: context)
    }
    trainer = try Trainer(
      model: model, dataset: dataset, normalization: description.normalization,
      options: configuration.trainingOptions, updater: configuration.updater(for: model, schedule: schedule),
      updateMode: configuration.updateMode,
      context: context)
  }

  /// Trains, saves the final checkpoint and draws up the result.
  func run(reporter: ProgressReporter, folder: RunFolder) throws -> RunResult {
    let sparsity = 1 - Double(connections) / Double(model.spec.sparsifiableWeights)
    reporter.log(
      "\(configuration.model) on \(configuration.dataset), \(configuration.method.rawValue): \(connections) of \(model.spec.sparsifiableWeights) weights (\(String(format: "%.2f", 100 * sparsity)) % sparse), \(trainer.timetable.steps) steps, \(context.threads) threads, \(context.instructionSet)"
    )
    let result = try trainer.run(observer: reporter)
    if configuration.method != .dense { try context.meter.check() }
    let information = Checkpoint.Information(
      model: request, dataset: configuration.dataset, method: configuration.method.rawValue,
      seed: configuration.seed, step: result.steps, batchSize: configuration.batchSize)
    try Checkpoint.save(model, information, to: folder.checkpoint(step: result.steps), temporary: folder.path)
    return RunResult(configuration, model: model, result: result, context: context, folder: folder.path)
  }

  private var connections: Int {
    model.sparseParameters.isEmpty ? model.spec.sparsifiableWeights : model.connections
  }
}
