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
  /// The fingerprint of the data set.
  let data: String

  /// - Parameter checkpoint: has the model's weights; without it they are drawn.
  init(_ configuration: RunConfiguration, context: ComputeContext, checkpoint: Checkpoint? = nil) throws {
    self.configuration = configuration
    self.context = context
    let description = try DatasetCatalog.description(of: configuration.dataset)
    request = configuration.modelRequest(for: description)
    let spec = try ModelCatalog.spec(request)
    let random = CounterRandom(seed: configuration.seed)
    let dataset = try DatasetCatalog.load(name: configuration.dataset, directory: configuration.dataDir)
    data = dataset.fingerprint
    let timetable = try TrainingTimetable(configuration.trainingOptions, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(
      interval: configuration.updateEvery, until: configuration.updateUntil, alpha: configuration.alpha)
    let updater: (any TopologyUpdater)? =
      switch configuration.method {
      case .gse: try GSE(schedule: schedule, gamma: configuration.gamma, scope: configuration.scope)
      case .set: SET(schedule: schedule, scope: configuration.scope)
      case .static, .dense: nil
      }
    if configuration.method == .dense {
      let factory = DenseLayerFactory(random: random, context: context)
      model =
        try checkpoint?.model(factory: factory, context: context)
        ?? Model(spec, factory: factory, random: random, context: context)
    } else {
      model =
        try checkpoint?.sparseModel(context: context)
        ?? Model(
          sparse: spec, sparsity: configuration.sparsity, distribution: configuration.distribution.distribution,
          random: random, context: context)
    }
    trainer = try Trainer(
      model: model, dataset: dataset, normalization: description.normalization,
      options: configuration.trainingOptions, updater: updater, updateMode: configuration.updateMode,
      context: context)
  }
}
