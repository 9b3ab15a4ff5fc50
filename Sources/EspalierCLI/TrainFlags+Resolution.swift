import Espalier
import EspalierCore
import EspalierData
import EspalierTopology
import Foundation

extension TrainFlags {
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
    if let hidden { run.hidden = try ValueList.parse(hidden, flag: "hidden", mayBeEmpty: true, Int.init) }
    if hidden != nil, run.model != "mlp" {
      throw EspalierError.usage("hidden: only model mlp takes it, the model is \(run.model)")
    }
    if run.model == "mlp" { run.hidden = run.hidden ?? ModelCatalog.defaultHidden }
    run.dataset = dataset ?? run.dataset
    // A comparison is found again by what was written, wherever that lies.
    func place(_ path: String) -> String { isShared ? path : Self.absolute(path) }
    run.dataDir = dataDir.map(place)
    let description = try known ?? DatasetCatalog.description(of: run.dataset, directory: dataDir)
    let spec = try ModelCatalog.spec(run.modelRequest(for: description))
    try resolveMethod(&run)
    run.initialWeights = initialWeights.map(place)
    if !isShared { try refuseIdleFlags(run) }
    if let path = initialWeights {
      let found = try WeightsFile(path: path).sparsity(of: spec, stated: run.method.isDense ? nil : sparsity)
      if !run.method.isDense { run.sparsity = found }
    }
    try resolveSchedule(&run, samples: description.trainCount)
    run.augment = augment ?? description.augmentsByDefault
    run.crop = try crop.map { try choice($0, flag: "crop", default: .resized) }
    if crop != nil, !description.isResizable || !run.augment {
      throw EspalierError.usage(
        "crop: only for pictures in files that training augments; \(run.dataset) is \(description.isResizable ? "not augmented" : "in memory")"
      )
    }
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
    run.rounds = rounds ?? (run.method == .lottery ? run.trainings : nil)
    run.rewindStep = rewindStep ?? (run.method == .lottery ? 0 : nil)
    run.gamma = gamma ?? run.gamma
    guard run.gamma > 0, run.gamma <= 1000 else {
      throw EspalierError.usage("gamma: \(run.gamma) is out of range; expected above 0 and at most 1000")
    }
    if let rewire, !(0...1).contains(rewire) {
      throw EspalierError.usage("rewire: \(rewire) is out of range; expected 0 to 1")
    }
    run.rewire = rewire
    run.exactSubset = exactSubset
    run.wholeDenseLayers = wholeDenseLayers
    run.extraBatches = extraBatches
    run.audit = audit
    run.alpha = alpha ?? run.alpha
    run.updateUntil = updateUntil ?? run.updateUntil
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
    options.milestones = try milestones.map {
      try ValueList.parse($0, flag: "milestones", mayBeEmpty: true, Double.init)
    }
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
}
