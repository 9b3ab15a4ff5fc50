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
  let request: ModelCatalog.Request
  let dataset: ImageDataset
  /// What choosing the connections left of the layers, where this process did that.
  let start: UpdateRecord?
  /// The fingerprint of the data set.
  let data: String

  /// - Parameter checkpoint: has the model's weights; without it they are drawn.
  init(_ configuration: RunConfiguration, context: ComputeContext, checkpoint: Checkpoint? = nil) throws {
    self.configuration = configuration
    self.context = context
    let description = try DatasetCatalog.description(of: configuration.dataset, directory: configuration.dataDir)
    request = configuration.modelRequest(for: description)
    let spec = try ModelCatalog.spec(request)
    let random = CounterRandom(seed: configuration.seed)
    dataset = try DatasetCatalog.load(name: configuration.dataset, directory: configuration.dataDir)
    data = dataset.fingerprint
    let timetable = try TrainingTimetable(configuration.trainingOptions, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(
      interval: configuration.updateEvery, until: configuration.updateUntil, alpha: configuration.alpha)
    var scored: (model: Model, start: UpdateRecord, cost: StartCost)?
    if checkpoint == nil, let score = configuration.method.startScore {
      scored = try Model.scored(
        spec, by: score, sparsity: configuration.sparsity, dataset: dataset, normalization: description.normalization,
        options: configuration.trainingOptions, context: context, progress: Terminal.occasionally())
    }
    start = scored?.start
    let model =
      try scored?.model
      ?? Self.model(spec, configuration, random: random, context: context, checkpoint: checkpoint)
    self.model = model
    trainer = try Trainer(
      model: model, dataset: dataset, normalization: description.normalization,
      options: configuration.trainingOptions, updater: configuration.updater(for: model, schedule: schedule),
      updateMode: configuration.updateMode,
      denseMethod: configuration.denseMethod(
        for: model, isResumed: checkpoint != nil, timetable: timetable, context: context), context: context)
    trainer.progress.start = scored?.cost
  }

  /// A checkpoint's model, or that of the initial weights, or one with weights drawn.
  private static func model(
    _ spec: ModelSpec, _ configuration: RunConfiguration, random: CounterRandom, context: ComputeContext,
    checkpoint: Checkpoint?
  ) throws -> Model {
    let isDense = configuration.method.isDense
    let factory = DenseLayerFactory(random: random, context: context)
    if let checkpoint {
      return try isDense
        ? checkpoint.model(factory: factory, context: context) : checkpoint.sparseModel(context: context)
    }
    let weights = try configuration.initialWeights.map { try WeightsFile(path: $0) }
    if isDense {
      let model = try Model(spec, factory: factory, random: random, context: context)
      if let weights { try model.load(weights) }
      return model
    }
    if let weights { return try Model(spec, weights: weights, random: random, context: context) }
    return try Model(
      sparse: spec, sparsity: configuration.startSparsity, distribution: configuration.distribution.distribution,
      random: random, context: context)
  }
}
