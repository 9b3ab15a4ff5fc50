import Espalier
import EspalierBaselines
import EspalierCore
import EspalierTopology

extension RunConfiguration {
  /// How a network finds its connections. All share the flags' schedule, with the flags' defaults; `dsr` aims at the same fraction at
  /// every update, `deepr` exchanges after every step; `itop` is `set` and `itop-rigl` is `rigl` with a fraction that falls to 0.005, as `snfs`'s does, not to 0; `snfs`
  /// grows among sampled candidates, `--gamma` a connection; `topkast` chooses what it uses from what it trains. `snip`, `grasp`, `synflow` and
  /// `magnitude` choose connections once, over the whole network: they ignore the distribution, and so do `gradual` and `lottery`,
  /// whose layers become equally sparse in local scope. `snfs-dense` is `snfs` with the momentum of all weights.
  enum Method: String, Codable, CaseIterable {
    case gse, `static`, set, dsr, deepr, mest, itop
    case rigl, snfs
    case itopRigL = "itop-rigl"
    case granet, topkast
    case snip, grasp, synflow, magnitude
    case dense, gradual, lottery
    case snfsDense = "snfs-dense"

    /// What chooses the connections before training; nil where they are random at first.
    var startScore: StartScore? { StartScore(rawValue: rawValue) }
    /// Whether it keeps dense weights.
    var isDense: Bool { [.dense, .gradual, .lottery, .snfsDense].contains(self) }
    var takesGuide: Bool { self == .gse }
    var takesInitialSparsity: Bool { self == .granet }
    /// Whether the method itself says which connections a run begins with.
    var choosesStart: Bool {
      [.topkast, .dense, .gradual, .lottery].contains(self) || startScore != nil
    }
    var takesBackwardSparsity: Bool { self == .topkast }
    /// Why weights from a file cannot be what it begins with; nil where they can.
    var ownStart: String? {
      switch self {
      case .topkast: "chooses among starting weights of its own"
      case .granet: "begins with more connections than it ends with"
      case .snfsDense: "begins with random connections"
      case _ where startScore != nil: "chooses from random initial weights"
      default: nil
      }
    }
    /// Whether `--scope` could not change where connections compete.
    var fixesScope: Bool {
      [.dsr, .deepr, .mest, .snfs, .granet, .topkast, .snfsDense].contains(self) || startScore != nil
    }

    /// Settings that it has no use for. Those of the shared schedule are not among them: any method passes over what it does not need.
    var idleKeys: Set<CodingKeys> {
      var keys: Set<CodingKeys> = []
      if !takesGuide { keys.insert(.guide) }
      if self != .gse { keys.formUnion([.exactSubset, .wholeDenseLayers, .extraBatches, .audit]) }
      if isDense { keys.formUnion([.powerprop, .deepHoyer]) }
      if fixesScope { keys.insert(.scope) }
      if !takesInitialSparsity { keys.insert(.initialSparsity) }
      if !takesBackwardSparsity { keys.insert(.backwardSparsity) }
      if self != .gradual { keys.insert(.pruneSchedule) }
      if self != .lottery { keys.formUnion([.rounds, .rewindStep]) }
      return keys
    }

    /// Settings that none of `methods` has a use for; an unknown one (nil) may have one for any.
    static func idleKeys(ofAll methods: [Self?]) -> Set<CodingKeys> {
      guard let first = methods.first else { return [] }
      return methods.dropFirst().reduce(first?.idleKeys ?? []) { $0.intersection($1?.idleKeys ?? []) }
    }
  }

  /// The sparsity that GraNet begins with.
  var denserStart: Double { initialSparsity ?? 0.5 }

  /// The sparsity that a run begins with: GraNet's is lower than its final one.
  var startSparsity: Double { method == .granet ? min(sparsity, denserStart) : sparsity }

  /// How often lottery tickets are trained.
  var trainings: Int { rounds ?? 5 }

  /// The sparsity of what Top-KAST trains: by default it is twice what is used.
  var resolvedBackwardSparsity: Double { backwardSparsity ?? max(0, 1 - 2 * (1 - sparsity)) }

  /// Candidates a connection that the rule of memory allows for.
  var meterGamma: Double { method == .topkast ? max(1, gamma) : gamma }

  /// What moves the model's connections; nil where they stay.
  func updater(for model: Model, schedule: UpdateSchedule) throws -> (any TopologyUpdater)? {
    let constant = UpdateSchedule(
      interval: schedule.interval, end: schedule.end, fraction: alpha, finalFraction: alpha)
    let long = ITOP.schedule(interval: schedule.interval, end: schedule.end, fraction: alpha)
    switch method {
    case .static, .snip, .grasp, .synflow, .magnitude, .dense, .gradual, .lottery, .snfsDense: return nil
    case .gse:
      return try GSE(
        schedule: schedule, guide: guide, gamma: gamma, scope: scope,
        subsetSize: exactSubset == true ? .exact : .drawn, examinesDenseLayersWhole: wholeDenseLayers == true)
    case .set: return SET(schedule: schedule, scope: scope)
    case .dsr: return DSR(schedule: constant)
    case .deepr: return DeepR(recordEvery: schedule.interval)
    case .mest: return MEST(schedule: schedule)
    case .itop: return SET(schedule: long, scope: scope)
    case .rigl: return RigL(schedule: schedule, scope: scope)
    case .itopRigL: return RigL(schedule: long, scope: scope)
    case .topkast: return TopKAST(schedule: schedule)
    case .snfs: return try SNFS(schedule: long, gamma: gamma)
    case .granet:
      let final = Int(((1 - sparsity) * Double(model.spec.sparsifiableWeights)).rounded())
      return try GraNet(schedule: schedule, startConnections: model.connections, finalConnections: final)
    }
  }
}

extension RunConfiguration {
  /// What is to be said of a run that ends before its method has pruned to the sparsity; nil for all others.
  ///
  /// - Parameter samples: of the training set.
  func prunesTooLate(samples: Int) throws -> String? {
    let timetable = try TrainingTimetable(trainingOptions, trainingSamples: samples)
    let schedule = try timetable.updates(interval: updateEvery, until: updateUntil, alpha: alpha)
    let steps: Int
    switch method {
    case .gradual: steps = schedule.end
    case .lottery: steps = (trainings - 1) * timetable.horizon + 1
    case .granet where startSparsity < sparsity: steps = schedule.lastUpdate + 1
    default: return nil
    }
    guard sparsity > 0, timetable.steps < steps else { return nil }
    return
      "method \(method.rawValue) prunes to sparsity \(sparsity) by step \(steps), the run ends after \(timetable.steps): its network will be denser; raise --max-steps, or leave --epochs out"
  }

  /// What prunes a dense model; nil where nothing does.
  ///
  /// - Parameter isResumed: the model's weights are a checkpoint's.
  func denseMethod(
    for model: Model, isResumed: Bool, timetable: TrainingTimetable, context: ComputeContext
  ) throws -> (any DenseMethod)? {
    let schedule = try timetable.updates(interval: updateEvery, until: updateUntil, alpha: alpha)
    switch method {
    case .gradual:
      return try GradualPruning(
        model, schedule: schedule, sparsity: sparsity, decay: pruneSchedule ?? .cubic, scope: scope, context: context)
    case .lottery:
      return try LotteryTickets(
        model, rounds: trainings, stepsPerRound: timetable.horizon, rewindStep: rewindStep ?? 0, sparsity: sparsity,
        scope: scope, context: context)
    case .snfsDense:
      let start =
        try isResumed
        ? nil
        : Model(
          sparse: model.spec, sparsity: sparsity, distribution: distribution.distribution, graph: graph,
          random: CounterRandom(seed: seed), context: context)
      let long = ITOP.schedule(interval: schedule.interval, end: schedule.end, fraction: alpha)
      return try ExactSNFS(model, start: start, schedule: long, context: context)
    default: return nil
    }
  }
}
