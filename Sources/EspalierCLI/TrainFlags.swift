import ArgumentParser
import Espalier
import EspalierCore
import EspalierData
import EspalierTopology
import Foundation
import Foundation

/// `train`'s flags as given; what is not given is nil until `resolve` settles it.
struct TrainFlags: ParsableArguments {
  // Both are replaced by the flags that they stand for before anything is parsed (`ArgumentExpansion`); here they are for the help.
  @Option(help: "A YAML file whose keys are these flags, such as a run's config.yaml; flags beside it win.") var config:
    String?
  @Option(help: "A recipe, e.g. cifar10-resnet56-98; flags beside it win.") var preset: String?
  @Option(help: "The model: \(ModelCatalog.names.joined(separator: ", ")).") var model: String?
  @Option(help: "Multiplies the model's channels.") var width: Double?
  @Option(help: "mlp only: units of the hidden layers, e.g. 512,512.") var hidden: String?
  @Option(help: "The data set: \(DatasetCatalog.names.joined(separator: ", ")).") var dataset: String?
  @Option(help: "The folder that holds the data set.") var dataDir: String?
  @Option(
    help: """
      The method: \(RunConfiguration.Method.allCases.map(\.rawValue).joined(separator: ", ")). itop is set, itop-rigl is rigl, with the moved \
      fraction falling to 0.005 instead of 0; snfs grows among sampled candidates, snfs-dense among all.
      """)
  var method: String?
  @Option(help: "gse only: what guides exploration: uniform, grabo or graest.") var guide: String?
  @Option(
    help:
      "gse, set, itop, rigl, itop-rigl, gradual, lottery: where connections compete: local (in their layer) or global.")
  var scope: String?
  @Option(help: "Whether an update takes the place of the optimizer's step: replace or add.") var updateMode: String?
  @Option(help: "Fraction of weights that do not exist: 0 <= s < 1.") var sparsity: Double?
  @Option(help: "granet only: the sparsity that it begins with (0.5).") var initialSparsity: Double?
  @Option(help: "topkast only: the sparsity of what is trained (by default twice as many weights as are used).")
  var backwardSparsity: Double?
  @Option(help: "gradual only: how the sparsity rises: cubic or cosine.") var pruneSchedule: String?
  @Option(help: "lottery only: trainings in a row (5), of --epochs each.") var rounds: Int?
  @Option(help: "lottery only: the step whose weights a round begins with (0).") var rewindStep: Int?
  @Option(
    help: """
      How layers share the connections: erdos-renyi, erk, uniform, or small-world: as erdos-renyi, but each layer begins as a ring lattice with some \
      connections rewired. Methods that choose over the whole network, and those with dense weights but snfs-dense, share them by themselves.
      """)
  var distribution: String?
  @Option(help: "small-world only: the probability that a connection is rewired (0.1).") var rewire: Double?
  @Option(help: "gse, snfs: candidates drawn a connection.") var gamma: Double?
  @Flag(
    inversion: .prefixedNo,
    help: "gse only: gamma candidates a connection, all distinct, rather than what as many draws hit.")
  var exactSubset: Bool?
  @Option(help: "gse only: further training batches whose gradients, summed, decide which candidates grow (0).")
  var extraBatches: Int?
  @Option(help: "gse only: rows of each layer whose whole gradient updates are compared with in topology.jsonl (0).")
  var audit: Int?
  @Option(help: "Fraction of connections that the first update moves; dsr: that each aims at.") var alpha: Double?
  @Option(help: "Steps between updates.") var updateEvery: Int?
  @Option(help: "Fraction of all steps after which connections stay.") var updateUntil: Double?
  @Option(help: "Passes over the training set.") var epochs: Int?
  @Option(help: "Steps after which training ends.") var maxSteps: Int?
  @Option(help: "Samples a step, on all ranks together.") var batchSize: Int?
  @Flag(help: "mpirun only: each rank normalises its part of a batch by statistics of its own.") var localBatchNorm =
    false
  @Option(name: .customLong("lr"), help: "Learning rate.") var learningRate: Double?
  @Option(help: "SGD's momentum.") var momentum: Double?
  @Option(help: "Weight decay, on all parameters.") var weightDecay: Double?
  @Option(help: "The optimizer: sgd or adamw (whose --lr is best around 0.001).") var optimizer: String?
  @Option(help: "Learning rate schedule: step (a tenth at each milestone) or cosine (to zero).") var schedule: String?
  @Option(help: "Epochs of linear warm-up; fractions allowed.") var warmupEpochs: Double?
  @Option(help: "Epochs at which the learning rate drops to a tenth, e.g. 80,120.") var milestones: String?
  @Option(help: "Label smoothing.") var labelSmoothing: Double?
  @Option(help: "Largest norm of all gradients together.") var clipNorm: Double?
  @Option(help: "Powerpropagation's alpha, from 1 (none) to 8: sparse weights are phi |phi|^(alpha - 1).")
  var powerprop: Double?
  @Option(name: .customLong("deephoyer"), help: "Weight of DeepHoyer's regularizer on the sparse weights in use (0).")
  var deepHoyer: Double?
  @Option(help: "Batches a step, whose mean gradient moves the weights.") var accumulate: Int?
  @Flag(inversion: .prefixedNo, help: "Pad-and-crop and flip training images.") var augment: Bool?
  @Flag(inversion: .prefixedNo, help: "Shuffle the training set each epoch.") var shuffle = true
  @Option(help: "Seed of everything random.") var seed: UInt64 = 0
  @Option(help: "Threads; results do not depend on them.") var threads: Int?
  @Option(name: .customLong("init"), help: "Weights to start from: a safetensors file, masked dense or CSR.")
  var initialWeights: String?
  @Option(help: "Folder that gets the run's folder.") var output = "runs"
  @Option(help: "Time after which the run stops, to be resumed, e.g. 3h50m.") var maxTime: String?
  @Option(help: "Steps between checkpoints; by default once an epoch.") var checkpointEvery: Int?
  @Option(help: "How many of the newest checkpoints stay.") var keep: Int?
  @Option(help: "Steps between lines of metrics.jsonl.") var logEvery: Int?
  @Option(help: "Fraction of the training set held out for validation.") var validation: Double?

  /// The configuration that the flags and the defaults make.
  ///
  /// - Parameters:
  ///   - known: what is known of the data set; without it the set is looked at.
  ///   - isShared: of several methods, so that flags that the method does not take are no contradiction.
  /// - Throws: `EspalierError.usage` for unknown names, values out of range and flags that contradict each other.
  func resolve(for known: DatasetDescription? = nil, isShared: Bool = false) throws -> RunConfiguration {
    var run = RunConfiguration()
    run.model = model ?? run.model
    run.width = width ?? run.width
    if let hidden { run.hidden = try list(hidden, flag: "hidden", Int.init) }
    if hidden != nil, run.model != "mlp" {
      throw EspalierError.usage("hidden: only model mlp takes it, the model is \(run.model)")
    }
    if run.model == "mlp" { run.hidden = run.hidden ?? [512, 512] }
    run.dataset = dataset ?? run.dataset
    // A comparison is found again by what was written, wherever that lies.
    func place(_ path: String) -> String { isShared ? path : Self.absolute(path) }
    run.dataDir = dataDir.map(place)
    let description = try known ?? DatasetCatalog.description(of: run.dataset, directory: dataDir)
    let spec = try ModelCatalog.spec(run.modelRequest(for: description))
    try resolveMethod(&run)
    run.initialWeights = initialWeights.map(place)
    if !isShared { try refuseIdleFlags(run) }
    if let path = initialWeights, !run.method.isDense {
      run.sparsity = try WeightsFile(path: path).sparsity(of: spec, stated: sparsity)
    }
    try resolveSchedule(&run, samples: description.trainCount)
    run.augment = augment ?? description.augmentsByDefault
    run.shuffle = shuffle
    run.seed = seed
    run.threads = threads ?? Launch.current.threads
    run.output = place(output)
    return run
  }

  /// A path that names the same place from any folder.
  private static func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
  }

  private func resolveMethod(_ run: inout RunConfiguration) throws {
    run.method = try choice(method, flag: "method", default: run.method)
    run.guide = try choice(guide, flag: "guide", default: run.guide)
    run.scope = try choice(scope, flag: "scope", default: run.scope)
    run.updateMode = try choice(updateMode, flag: "update-mode", default: run.updateMode)
    run.distribution = try choice(distribution, flag: "distribution", default: run.distribution)
    run.sparsity = sparsity ?? run.sparsity
    guard run.sparsity >= 0, run.sparsity < 1 else {
      throw EspalierError.usage("sparsity: \(run.sparsity) is out of range; expected 0 <= sparsity < 1")
    }
    if run.method.takesInitialSparsity, let initialSparsity, !(0...run.sparsity).contains(initialSparsity) {
      throw EspalierError.usage(
        "initial-sparsity: \(initialSparsity) is out of range; expected 0 to the sparsity, \(run.sparsity)")
    }
    run.initialSparsity = initialSparsity
    if run.method.takesBackwardSparsity, let backwardSparsity, !(0...run.sparsity).contains(backwardSparsity) {
      throw EspalierError.usage(
        "backward-sparsity: \(backwardSparsity) is out of range; expected 0 to the sparsity, \(run.sparsity)")
    }
    run.backwardSparsity = backwardSparsity
    if run.method == .gradual || pruneSchedule != nil {
      run.pruneSchedule = try choice(pruneSchedule, flag: "prune-schedule", default: .cubic)
    }
    if let rounds, run.method == .lottery, rounds < 2 {
      throw EspalierError.usage("rounds: \(rounds) is out of range; expected at least 2: pruning is between rounds")
    }
    if run.method == .gradual, updateUntil == 0 {
      throw EspalierError.usage("update-until: method gradual prunes until then; expected a fraction above 0")
    }
    run.rounds = run.method == .lottery ? rounds ?? 5 : rounds
    run.rewindStep = run.method == .lottery ? rewindStep ?? 0 : rewindStep
    run.gamma = gamma ?? run.gamma
    guard run.gamma > 0, run.gamma <= 1000 else {
      throw EspalierError.usage("gamma: \(run.gamma) is out of range; expected above 0 and at most 1000")
    }
    if let rewire, !(0...1).contains(rewire) {
      throw EspalierError.usage("rewire: \(rewire) is out of range; expected 0 to 1")
    }
    run.rewire = rewire
    run.exactSubset = exactSubset
    run.extraBatches = extraBatches
    run.audit = audit
    run.alpha = alpha ?? run.alpha
    run.updateUntil = updateUntil ?? run.updateUntil
  }

  /// Refuses a choice that the method could not heed. Defaults pass, and so do the numbers of the schedule that all methods share
  /// (`--gamma`, `--alpha`, `--update-every`, `--update-until`) and `--update-mode`, so that one command line serves every method.
  private func refuseIdleFlags(_ run: RunConfiguration) throws {
    let (method, standard) = (run.method, RunConfiguration())
    if run.guide != standard.guide, !method.takesGuide {
      throw EspalierError.usage("guide: only method gse takes it, the method is \(method.rawValue)")
    }
    for (flag, value) in [("extra-batches", run.extraBatches), ("audit", run.audit)]
    where value != nil && method != .gse {
      throw EspalierError.usage("\(flag): only method gse takes it, the method is \(method.rawValue)")
    }
    if run.exactSubset == true, method != .gse {
      throw EspalierError.usage("exact-subset: only method gse takes it, the method is \(method.rawValue)")
    }
    for (flag, value) in [("powerprop", powerprop), ("deephoyer", deepHoyer)] where value != nil && method.isDense {
      throw EspalierError.usage(
        "\(flag): acts on sparse weights, method \(method.rawValue) has none; leave --\(flag) out")
    }
    if run.rewire != nil, run.distribution != .smallWorld {
      throw EspalierError.usage(
        "rewire: only distribution small-world takes it, the distribution is \(run.distribution.rawValue)")
    }
    if run.distribution == .smallWorld, method.choosesStart || run.initialWeights != nil {
      throw EspalierError.usage(
        "distribution: small-world says which connections a run begins with, and so does \(run.initialWeights != nil ? "--init" : "method " + method.rawValue); choose another distribution"
      )
    }
    if run.scope != standard.scope, method.fixesScope {
      throw EspalierError.usage("scope: method \(method.rawValue) has its own; leave --scope out")
    }
    if run.initialSparsity != nil, !method.takesInitialSparsity {
      throw EspalierError.usage("initial-sparsity: only method granet takes it, the method is \(method.rawValue)")
    }
    if run.backwardSparsity != nil, !method.takesBackwardSparsity {
      throw EspalierError.usage("backward-sparsity: only method topkast takes it, the method is \(method.rawValue)")
    }
    if run.initialWeights != nil, method == .topkast {
      throw EspalierError.usage("init: method topkast chooses among starting weights of its own; leave --init out")
    }
    if run.pruneSchedule != nil, method != .gradual {
      throw EspalierError.usage("prune-schedule: only method gradual takes it, the method is \(method.rawValue)")
    }
    for (flag, value) in [("rounds", run.rounds), ("rewind-step", run.rewindStep)]
    where value != nil && method != .lottery {
      throw EspalierError.usage("\(flag): only method lottery takes it, the method is \(method.rawValue)")
    }
    if run.initialWeights != nil, method == .snfsDense {
      throw EspalierError.usage("init: method snfs-dense begins with random connections; leave --init out")
    }
    if run.initialWeights != nil, method.startScore != nil {
      throw EspalierError.usage(
        "init: method \(method.rawValue) chooses from random initial weights; leave --init out, or train with method static"
      )
    }
    if run.initialWeights != nil, method == .granet {
      throw EspalierError.usage("init: method granet begins with more connections than it ends with; leave --init out")
    }
  }

  /// Clears those of the flags `idle` that only some methods take. Returns which of them had been given.
  @discardableResult
  mutating func clearFlags(_ idle: Set<RunConfiguration.CodingKeys>) -> Set<RunConfiguration.CodingKeys> {
    var cleared: Set<RunConfiguration.CodingKeys> = []
    func clear<T>(_ key: RunConfiguration.CodingKeys, _ flag: inout T?) {
      guard idle.contains(key), flag != nil else { return }
      flag = nil
      cleared.insert(key)
    }
    clear(.guide, &guide)
    clear(.exactSubset, &exactSubset)
    clear(.extraBatches, &extraBatches)
    clear(.audit, &audit)
    clear(.powerprop, &powerprop)
    clear(.deepHoyer, &deepHoyer)
    clear(.scope, &scope)
    clear(.initialSparsity, &initialSparsity)
    clear(.backwardSparsity, &backwardSparsity)
    clear(.pruneSchedule, &pruneSchedule)
    clear(.rounds, &rounds)
    clear(.rewindStep, &rewindStep)
    return cleared
  }

  private func resolveSchedule(_ run: inout RunConfiguration, samples: Int) throws {
    run.optimizer = try choice(optimizer, flag: "optimizer", default: run.optimizer)
    run.schedule = try choice(schedule, flag: "schedule", default: run.schedule)
    if momentum != nil, run.optimizer == .adamw {
      throw EspalierError.usage("momentum: only optimizer sgd takes it, the optimizer is adamw")
    }
    if milestones != nil, run.schedule == .cosine {
      throw EspalierError.usage("milestones: only schedule step takes them, the schedule is cosine")
    }
    run.epochs = epochs ?? (maxSteps == nil ? 10 : nil)
    run.maxSteps = maxSteps
    run.batchSize = batchSize ?? run.batchSize
    run.learningRate = learningRate ?? ModelCatalog.learningRate(of: run.model)
    run.momentum = momentum ?? run.momentum
    run.weightDecay = weightDecay ?? run.weightDecay
    run.labelSmoothing = labelSmoothing ?? run.labelSmoothing
    run.clipNorm = clipNorm
    run.powerprop = powerprop
    run.deepHoyer = deepHoyer
    run.accumulate = accumulate ?? run.accumulate
    run.localNorms = localBatchNorm ? true : nil
    run.validation = validation ?? run.validation
    var options = run.trainingOptions
    options.warmupEpochs = warmupEpochs
    options.milestones = try milestones.map { try list($0, flag: "milestones", Double.init) }
    options.logEvery = logEvery
    let timetable = try TrainingTimetable(options, trainingSamples: samples)
    if let rewind = run.rewindStep, run.method == .lottery, !(0..<timetable.horizon).contains(rewind) {
      throw EspalierError.usage(
        "rewind-step: \(rewind) is out of range; expected 0 to \(timetable.horizon - 1), a step of a round")
    }
    let epochs = Double(timetable.horizon) / Double(timetable.stepsPerEpoch)
    run.warmupEpochs = options.warmupEpochs ?? 0.025 * epochs
    run.milestones = run.schedule == .cosine ? [] : options.milestones ?? [0.4 * epochs, 0.6 * epochs]
    run.logEvery = timetable.logEvery
    run.maxTime = maxTime
    run.checkpointEvery = checkpointEvery ?? timetable.stepsPerEpoch
    run.keep = keep ?? run.keep
    try run.validateCheckpoints()
    run.updateEvery = try timetable.updates(
      interval: updateEvery, until: run.updateUntil, alpha: run.alpha
    ).interval
  }

  /// The value that `text` names, or the default.
  private func choice<T: RawRepresentable & CaseIterable>(
    _ text: String?, flag: String, default standard: T
  ) throws -> T where T.RawValue == String {
    guard let text else { return standard }
    if let value = T(rawValue: text) { return value }
    let names = T.allCases.map(\.rawValue)
    let hint = EspalierError.nearest(to: text, among: names).map { "; did you mean '\($0)'?" } ?? ""
    throw EspalierError.usage("\(flag): '\(text)' is unknown\(hint) (expected \(names.joined(separator: ", ")))")
  }

  /// The numbers of a comma-separated list.
  private func list<T>(_ text: String, flag: String, _ parse: (String) -> T?) throws -> [T] {
    if text.isEmpty { return [] }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let value = parse(part.trimmingCharacters(in: .whitespaces)) else {
        throw EspalierError.usage("\(flag): '\(text)' is not a list of numbers such as 512,512")
      }
      return value
    }
  }
}
