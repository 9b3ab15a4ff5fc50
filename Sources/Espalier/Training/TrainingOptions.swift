import EspalierCore
import EspalierData
import EspalierTopology

/// What happens to the optimizer's step when connections move.
public enum UpdateMode: String, Sendable, CaseIterable, Codable {
  /// The update takes its place (GSE, Algorithm 2).
  case replace
  /// It follows the update, with the gradients at hand: survivors' and grown connections'.
  case add
}

/// How the learning rate gets smaller.
public enum ScheduleKind: String, Sendable, CaseIterable, Codable {
  /// To a tenth at each milestone.
  case step
  /// To zero at the horizon, see `LearningRateSchedule.Decay`.
  case cosine
}

/// How to train, whatever the model and the method. Everything in epochs may be a fraction.
public struct TrainingOptions: Sendable, Hashable {
  /// Number of passes over the training set; nil: as many as `maxSteps` make.
  public var epochs: Int?
  /// Steps after which training ends; without `epochs` also what the schedules stretch over.
  public var maxSteps: Int?
  /// Trainings in a row, of `epochs` each, that share `maxSteps` (lottery tickets).
  public var rounds = 1
  /// Samples that one pass sees, on all ranks together.
  public var batchSize = 128
  /// Batches a step: their mean gradient moves the weights, as one batch of batchSize * accumulate samples would (batch norm's statistics
  /// and dropout's masks stay each batch's own). Steps, epochs and updates count such steps. An update of the topology looks at the
  /// gradients of the step's last batch.
  public var accumulate = 1
  /// What moves the weights, where `Trainer` is given no optimizer.
  public var optimizer = OptimizerKind.sgd
  /// The rate after warm-up and before any decay.
  public var learningRate = 0.1
  /// SGD's; AdamW has no use for it.
  public var momentum = 0.9
  /// SGD adds it times the weight to the gradient; AdamW shrinks weights by it.
  public var weightDecay = 1e-4
  /// How the learning rate gets smaller.
  public var schedule = ScheduleKind.step
  /// nil: 0.025 of all epochs.
  public var warmupEpochs: Double?
  /// Epochs at which the learning rate drops to a tenth (`schedule` step); nil: at 0.4 and 0.6 of all.
  public var milestones: [Double]?
  /// Part of each target that is spread over all classes, 0 ..< 1.
  public var labelSmoothing = 0.0
  /// Largest L2 norm of all gradients together; longer ones are shortened to it. nil: no limit.
  public var clipNorm: Double?
  /// Alpha of Powerpropagation: sparse weights are phi |phi|^(alpha - 1), and the optimizer moves phi. 1: weights themselves.
  public var powerprop = 1.0
  /// Lambda of DeepHoyer's regularizer on the sparse weights.
  public var deepHoyer = 0.0
  /// Fraction of the training set that is held out for validation.
  public var validation = 0.0
  /// Whether training images are shifted and mirrored at random.
  public var augments = false
  /// Which part of a picture augmented training sees, where pictures are decoded on the way.
  public var crop = TrainingCrop.resized
  /// Whether every epoch has an order of its own.
  public var shuffles = true
  /// Keys everything random.
  public var seed: UInt64 = 0
  /// Training batches beside the step's own whose gradients decide, summed, which candidates GSE grows. They leave running statistics
  /// and the step's gradients as they are.
  public var extraBatches = 0
  /// Rows of each layer whose whole gradient an update of GSE is compared with, for its record; 0: none.
  public var audit = 0
  /// Whether each of several ranks normalises its part of a batch by statistics of its own, rather than by the whole batch's.
  public var localNorms = false
  /// Steps between records of a step; nil: so that a run has some 1,000.
  public var logEvery: Int?

  /// What becomes of training images; nil: nothing.
  var augmentation: Augmentation? { augments ? Augmentation(crop: crop) : nil }

  /// The defaults of the command line, but for the learning rate, which there follows from the model.
  ///
  /// Without either, 10 epochs; `maxSteps` alone is also what the schedules stretch over.
  public init(epochs: Int? = nil, maxSteps: Int? = nil) {
    self.epochs = epochs ?? (maxSteps == nil ? 10 : nil)
    self.maxSteps = maxSteps
  }

  /// - Throws: `EspalierError.usage` that names the value out of range.
  public func validate() throws {
    func require(_ holds: Bool, _ name: String, _ value: Any, _ expected: String) throws {
      if !holds { throw EspalierError.usage("\(name): \(value) is out of range; expected \(expected)") }
    }
    try require(epochs != nil || maxSteps != nil, "epochs", "none", "epochs or max-steps")
    if let epochs { try require((1...1_000_000).contains(epochs), "epochs", epochs, "1 to 1000000") }
    if let maxSteps { try require((1...1 << 31).contains(maxSteps), "max-steps", maxSteps, "1 to 2147483648") }
    try require((1...1000).contains(rounds), "rounds", rounds, "1 to 1000")
    try require((1...65_536).contains(batchSize), "batch-size", batchSize, "1 to 65536")
    try require((1...65_536).contains(accumulate), "accumulate", accumulate, "1 to 65536")
    try require(learningRate > 0 && learningRate.isFinite, "lr", learningRate, "a number above 0")
    try require((0..<1).contains(momentum), "momentum", momentum, "0 <= momentum < 1")
    try require(weightDecay >= 0 && weightDecay.isFinite, "weight-decay", weightDecay, "a number of at least 0")
    try require((0..<1).contains(labelSmoothing), "label-smoothing", labelSmoothing, "0 <= label-smoothing < 1")
    if let clipNorm { try require(clipNorm > 0 && clipNorm.isFinite, "clip-norm", clipNorm, "a number above 0") }
    try require((1...8).contains(powerprop), "powerprop", powerprop, "1 to 8")
    try require(deepHoyer >= 0 && deepHoyer.isFinite, "deephoyer", deepHoyer, "a number of at least 0")
    try require(validation >= 0 && validation < 1, "validation", validation, "0 <= validation < 1")
    if let warmupEpochs {
      try require(warmupEpochs >= 0 && warmupEpochs.isFinite, "warmup-epochs", warmupEpochs, "a number of at least 0")
    }
    for milestone in milestones ?? [] {
      try require(milestone >= 0 && milestone.isFinite, "milestones", milestone, "numbers of at least 0")
    }
    try require((0...65_536).contains(extraBatches), "extra-batches", extraBatches, "0 to 65536")
    try require((0...1 << 20).contains(audit), "audit", audit, "0 to 1048576 rows")
    if let logEvery { try require(logEvery > 0, "log-every", logEvery, "at least 1") }
  }

  /// How many of `samples` training samples are held out for validation.
  func heldOut(of samples: Int) -> Int { Int(validation * Double(samples)) }
}

/// The options of a run, in steps.
public struct TrainingTimetable: Sendable, Hashable {
  /// Steps that visit the training set once; a last incomplete one is left out.
  public let stepsPerEpoch: Int
  /// Steps that the run takes.
  public let steps: Int
  /// Steps that the schedules stretch over: of each round where there are several.
  public let horizon: Int
  /// The rate of each step; of the first round where there are several (see `rate(at:)`).
  public let learningRate: LearningRateSchedule
  /// Steps between records of a step.
  public let logEvery: Int

  /// - Parameters:
  ///   - options: in epochs.
  ///   - trainingSamples: of the data set, those that are held out for validation among them.
  /// - Throws: `EspalierError.usage` where the training set is smaller than a step's batches, or an option is out of range.
  public init(_ options: TrainingOptions, trainingSamples: Int) throws {
    try options.validate()
    let heldOut = options.heldOut(of: trainingSamples)
    guard options.validation == 0 || heldOut > 0 else {
      throw EspalierError.usage(
        "validation: \(options.validation) of \(trainingSamples) training samples is none; expected 0 or a larger fraction"
      )
    }
    let perEpoch = (trainingSamples - heldOut) / (options.batchSize * options.accumulate)
    guard perEpoch > 0 else {
      let (name, size) =
        options.accumulate == 1
        ? ("batch-size", "\(options.batchSize)") : ("accumulate", "\(options.accumulate) x \(options.batchSize)")
      throw EspalierError.usage(
        "\(name): \(size) is more than the \(trainingSamples - heldOut) training samples; expected at most that many")
    }
    guard options.extraBatches * options.batchSize <= trainingSamples - heldOut else {
      throw EspalierError.usage(
        "extra-batches: \(options.extraBatches) x \(options.batchSize) is more than the \(trainingSamples - heldOut) training samples; expected at most that many"
      )
    }
    if let maxSteps = options.maxSteps, maxSteps < options.rounds {
      throw EspalierError.usage(
        "max-steps: \(maxSteps) is less than a step for each of the \(options.rounds) rounds; expected at least that many"
      )
    }
    stepsPerEpoch = perEpoch
    horizon = options.epochs.map { $0 * perEpoch } ?? options.maxSteps.map { max(1, $0 / options.rounds) } ?? perEpoch
    steps = min(horizon * options.rounds, options.maxSteps ?? horizon * options.rounds)
    // Each batch of each step has a number of its own, below 2^32.
    guard steps <= (1 << 32) / options.accumulate else {
      throw EspalierError.usage("accumulate: \(options.accumulate) x \(steps) steps is more than 4294967296 batches")
    }
    let epochs = Double(horizon) / Double(perEpoch)
    func inSteps(_ epochs: Double) -> Int { Int((min(epochs, 1e9) * Double(perEpoch)).rounded()) }
    learningRate = LearningRateSchedule(
      base: options.learningRate, warmupSteps: inSteps(options.warmupEpochs ?? 0.025 * epochs),
      decay: options.schedule == .cosine
        ? .cosine(end: horizon) : .milestones((options.milestones ?? [0.4 * epochs, 0.6 * epochs]).map(inSteps)))
    logEvery = options.logEvery ?? max(1, steps / 1000)
  }

  /// The learning rate of a step, counted from 0 over all rounds.
  public func rate(at step: Int) -> Double { learningRate.rate(at: step % horizon) }

  /// Number of epochs, the last of which may be cut short.
  public var epochs: Int { (steps + stepsPerEpoch - 1) / stepsPerEpoch }

  /// The topology's schedule: updates every `interval` steps (nil: at least 4 in a short run) until `fraction` of the horizon.
  ///
  /// - Throws: `EspalierError.usage` for values out of range.
  public func updates(interval: Int?, until fraction: Double, alpha: Double) throws -> UpdateSchedule {
    if let interval, interval < 1 {
      throw EspalierError.usage("update-every: \(interval) is out of range; expected at least 1 step")
    }
    guard (0...1).contains(fraction) else {
      throw EspalierError.usage("update-until: \(fraction) is out of range; expected 0 to 1")
    }
    guard alpha > 0, alpha <= 1 else {
      throw EspalierError.usage("alpha: \(alpha) is out of range; expected above 0 and at most 1")
    }
    let chosen = interval ?? max(10, min(1000, horizon / 40))
    return UpdateSchedule(interval: chosen, end: Int((fraction * Double(horizon)).rounded()), fraction: alpha)
  }
}
