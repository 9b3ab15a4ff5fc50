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

  func run() throws { try Launch.current.withRanks(run) }

  private func run(on ranks: RankGroup) throws {
    let stop = try StopRequest(parsing: flags.maxTime)
    if !dryRun { stop.listen() }
    let found = try TrainingSession.find(flags.dataset ?? RunConfiguration().dataset, directory: flags.dataDir)
    let configuration = try flags.resolve(for: found.description)
    if let words = try configuration.prunesTooLate(samples: found.description.trainCount) {
      Terminal.note("espalier: warning: \(words)")
    }
    if dryRun, ranks.rank > 0 { return }
    if dryRun { return try DryRun(configuration).print(asJSON: json) }
    let context = try ComputeContext(threads: configuration.threads, gamma: configuration.meterGamma)
    func begin(data: String) throws -> BegunRun {
      let inputs = try RunInputs(of: configuration, data: data)
      return try BegunRun(
        folder: RunFolder(configuration, inputs: inputs, context: context), stop: stop, printsJSON: json)
    }
    guard ranks.rank == 0 else {
      return try TrainingSession(configuration, context: context, found: found, ranks: ranks).follow(stop)
    }
    let session = try TrainingSession(configuration, context: context, found: found, ranks: ranks) {
      try begin(data: $1)
    }
    try session.run(session.begun ?? begin(data: session.data))
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
  /// The run, where it had to begin before its connections were chosen.
  let begun: BegunRun?
  /// The fingerprint of the data set.
  let data: String

  /// - Parameters:
  ///   - checkpoint: has the model's weights; without it they are drawn.
  ///   - inputs: what the run began with.
  ///   - found: the data set, where it has been looked for already.
  ///   - ranks: who trains the model together.
  ///   - begin: begins the run that the session is for, with the data set's fingerprint; called where connections have to be chosen.
  /// - Throws: where they are chosen, as `run(_:)`; `EspalierError.input` where the inputs are others.
  init(
    _ configuration: RunConfiguration, context: ComputeContext, checkpoint: Checkpoint? = nil,
    inputs: RunInputs? = nil, found: FoundDataset? = nil, ranks: RankGroup = RankGroup(),
    begin: ((ComputeContext, _ data: String) throws -> BegunRun)? = nil
  ) throws {
    self.configuration = configuration
    self.context = context
    let found = try found ?? Self.find(configuration.dataset, directory: configuration.dataDir)
    request = configuration.modelRequest(for: found.description)
    let spec = try ModelCatalog.spec(request)
    let random = CounterRandom(seed: configuration.seed)
    (dataset, data) = try Activity.during("reading data set \(configuration.dataset)") {
      let dataset = try found.load()
      return (dataset, dataset.fingerprint)
    }
    let data = data
    try inputs?.check(configuration, data: data)
    let timetable = try TrainingTimetable(configuration.trainingOptions, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(
      interval: configuration.updateEvery, until: configuration.updateUntil, alpha: configuration.alpha)
    var scored: (model: Model, start: UpdateRecord, cost: StartCost)?
    var begun: BegunRun?
    if checkpoint == nil, let score = configuration.method.startScore {
      let watch = ScoringWatch { try begin?(context, data) }
      do {
        scored = try Model.scored(
          spec, by: score, sparsity: configuration.sparsity, dataset: dataset,
          normalization: found.description.normalization, options: configuration.trainingOptions, context: context,
          progress: watch.report)
        try watch.finish()
        begun = watch.run
      } catch let error as EspalierError {
        let failure = try watch.failure(error)
        throw failure
      }
    }
    self.begun = begun
    start = scored?.start
    let model =
      try scored?.model
      ?? Self.model(spec, configuration, random: random, context: context, checkpoint: checkpoint)
    self.model = model
    trainer = try Trainer(
      model: model, dataset: dataset, normalization: found.description.normalization,
      options: configuration.trainingOptions, updater: configuration.updater(for: model, schedule: schedule),
      updateMode: configuration.updateMode,
      denseMethod: configuration.denseMethod(
        for: model, isResumed: checkpoint != nil, timetable: timetable, context: context), ranks: ranks,
      context: context)
    trainer.progress.start = scored?.cost
    if let (rank, name) = ranks.firstDifference(in: [("data set", data)]) {
      throw EspalierError.input(
        "\(name) \(configuration.dataset): rank \(rank) finds another than rank 0; give all ranks the same --data-dir")
    }
  }

  /// Looks for a data set.
  static func find(_ name: String, directory: String?) throws -> FoundDataset {
    try Activity.during("looking for data set \(name)") { try DatasetCatalog.find(name, directory: directory) }
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
    if configuration.method == .topkast {
      return try Model(
        topKAST: spec, sparsity: configuration.sparsity, backwardSparsity: configuration.resolvedBackwardSparsity,
        distribution: configuration.distribution.distribution, random: random, context: context)
    }
    return try Model(
      sparse: spec, sparsity: configuration.startSparsity, distribution: configuration.distribution.distribution,
      graph: configuration.graph, random: random, context: context)
  }
}
