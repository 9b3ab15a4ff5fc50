import EspalierCore
import EspalierData
import EspalierTopology

/// Trains a model: data, forward, backward, then the optimizer or, on an update step, the topology.
///
/// Several ranks, each with a trainer that is made and run alike, train one model together (see `RankGroup`): they share each batch and
/// the images of an evaluation, and hold the same model after each step. Their observers may differ; one whose `wantsStop` is true stops
/// them all.
public final class Trainer {
  /// The model that is trained, in place.
  public let model: Model
  /// The options in steps.
  public let timetable: TrainingTimetable
  /// How far training has come.
  public package(set) var progress = TrainingProgress()
  /// The number of steps after which the model's outputs were last seen to be finite; nil before this process saw any.
  package internal(set) var soundStep: Int?
  let options: TrainingOptions
  let context: ComputeContext
  let random: CounterRandom
  let optimizer: any Optimizer
  let topology: TopologyStep?
  let denseMethod: (any DenseMethod)?
  let accumulator: GradientAccumulator
  var flops: FlopCounter
  var clock = StepClock()
  var phases: PhaseClock
  let augmentation: Augmentation?
  let loader: BatchLoader
  let ranks: RankGroup
  /// Steps whose gradients were summed over ranks.
  var summedSteps = 0
  private let evaluator: Evaluator
  private let validator: Evaluator?

  /// - Parameters:
  ///   - model: is trained in place.
  ///   - dataset: trained and tested on; its images are padded, and a single channel repeated, to fit the model.
  ///   - normalization: of the pixels.
  ///   - options: how to train.
  ///   - optimizer: moves the weights, with the options' learning rate; nil: the one that the options name.
  ///   - updater: moves connections; nil for a fixed topology.
  ///   - updateMode: what happens to the optimizer's step in an update.
  ///   - denseMethod: prunes a dense model's weights.
  ///   - ranks: who trains the model together; by default this process alone.
  ///   - context: the one that the model's memory belongs to.
  /// - Throws: `EspalierError.usage` for options out of range, a data set that does not fit the model, more ranks than a batch has
  ///   samples, or an optimizer with two states of one name.
  public init(
    model: Model, dataset: ImageDataset, normalization: Normalization, options: TrainingOptions,
    optimizer: (any Optimizer)? = nil, updater: (any TopologyUpdater)? = nil, updateMode: UpdateMode = .replace,
    denseMethod: (any DenseMethod)? = nil, ranks: RankGroup = RankGroup(), context: ComputeContext
  ) throws {
    guard options.batchSize >= ranks.size else {
      throw EspalierError.usage(
        "batch-size: \(options.batchSize) samples cannot be shared by \(ranks.size) ranks; expected at least one a rank"
      )
    }
    if let optimizer, Set(optimizer.stateNames).count < optimizer.stateNames.count {
      throw EspalierError.usage(
        "\(type(of: optimizer)): its state names are \(optimizer.stateNames); expected different ones")
    }
    self.ranks = ranks
    timetable = try TrainingTimetable(options, trainingSamples: dataset.train.count)
    self.model = model
    self.options = options
    self.context = context
    let random = CounterRandom(seed: options.seed)
    self.random = random
    self.optimizer = optimizer ?? options.makeOptimizer()
    accumulator = GradientAccumulator(parts: options.accumulate)
    augmentation = options.augmentation
    func evaluator(on split: ImageSplit?) throws -> Evaluator {
      try Evaluator(
        dataset: dataset, split: split, normalization: normalization, spec: model.spec, batchSize: options.batchSize,
        ranks: ranks, context: context)
    }
    let parts = try options.validation > 0 ? dataset.train.heldOut(fraction: options.validation, random: random) : nil
    loader = try BatchLoader(
      parts?.train ?? dataset.train, of: dataset, normalization: normalization, input: model.spec.input,
      context: context)
    self.evaluator = try evaluator(on: nil)
    validator = try parts.map { try evaluator(on: $0.validation) }
    self.denseMethod = denseMethod
    flops = FlopCounter(model, method: denseMethod)
    phases = PhaseClock(context: context)
    topology = try updater.map {
      try TopologyStep(
        updater: $0, mode: updateMode, model: model, auditedRows: options.audit, random: random, ranks: ranks,
        firstSample: ranks.part(of: options.batchSize, rank: ranks.rank).lowerBound, context: context)
    }
  }

  /// Trains to the end of the timetable and tells nobody on the way.
  @discardableResult
  public func run() throws -> TrainingResult { try run(observer: NoObserver()) }

  /// Trains from where `progress` stands to the end of the timetable, or until the observer wants a stop.
  ///
  /// - Throws: `EspalierError.diverged` where a loss or a gradient is not finite; `EspalierError.invariant` where ranks hold different
  ///   models; what the observer throws.
  @discardableResult
  public func run(observer: some TrainingObserver) throws -> TrainingResult {
    try checkThatRanksBeginAlike()
    // A run may have been stopped between an epoch's last step and its evaluation.
    if !isFinished, progress.step == endOfEpoch { _ = try finishEpoch(observer) }
    while progress.step < timetable.steps, !stops(observer) { try runEpoch(observer) }
    return result
  }

  /// The step after which the epoch that is not evaluated yet ends.
  private var endOfEpoch: Int { min((progress.history.count + 1) * timetable.stepsPerEpoch, timetable.steps) }

  private var isFinished: Bool { progress.step == timetable.steps && progress.history.count == timetable.epochs }

  private var result: TrainingResult {
    TrainingResult(
      steps: progress.step, epochs: timetable.epochs, isFinished: isFinished, history: progress.history,
      trainSeconds: clock.seconds, stepMillisecondsMedian: stepMilliseconds,
      updateMillisecondsMedian: updateMilliseconds,
      imagesPerSecond: Double(progress.step * samplesPerStep) / max(clock.seconds, 1e-9),
      trainFlopsPerSample: flops.perSample, explorationRate: explorationRate, updates: progress.updates,
      phases: TrainingPhase.allCases.map {
        PhaseRecord(name: $0.name, seconds: phases.seconds[$0.rawValue], peakBytes: phases.peakBytes[$0.rawValue])
      }, peakWeightStateBytes: progress.peakWeightStateBytes ?? model.weightStateBytes, ranks: rankRecord)
  }

  private var samplesPerStep: Int { options.batchSize * options.accumulate }

  private var explorationRate: Double? {
    if let denseMethod { return denseMethod.explorationRate }
    guard let topology else {
      return Double(model.connectionCounts.reduce(0, +)) / Double(model.spec.sparsifiableWeights)
    }
    return topology.explored.map { Double($0) / Double(model.spec.sparsifiableWeights) }
  }

  /// The rest of the present epoch.
  private func runEpoch(_ observer: some TrainingObserver) throws {
    let epoch = progress.history.count
    let order = SampleOrder(count: loader.split.count, epoch: epoch, shuffled: options.shuffles, random: random)
    let first = (progress.step - epoch * timetable.stepsPerEpoch) * options.accumulate
    var batches = loader.batches(
      in: order, size: options.batchSize, slice: slice, dropLast: true, from: first, augmentation: augmentation,
      epoch: epoch, random: random)
    let end = endOfEpoch
    while progress.step < end {
      let step = progress.step
      let started = ContinuousClock.now
      let (loss, update) = try self.step(step, from: &batches)
      clock.record(ContinuousClock.now - started, isUpdate: update != nil)
      progress.step += 1
      progress.peakWeightStateBytes = max(progress.peakWeightStateBytes ?? 0, model.weightStateBytes)
      progress.epochLoss += loss.mean
      try report(step, loss: loss, update: update, to: observer)
      guard !stops(observer) else { return }
      if progress.step == end {
        // The evaluation decodes pictures of its own.
        batches.close()
        guard try finishEpoch(observer) else { return }
      }
      try observer.mayCheckpoint(step: progress.step, endsEpoch: progress.step == end)
      guard !stops(observer) else { return }
    }
  }

  private func report(_ step: Int, loss: LossResult, update: UpdateRecord?, to observer: some TrainingObserver) throws {
    let record = StepRecord(
      step: step + 1, epoch: Double(step + 1) / Double(timetable.stepsPerEpoch), trainLoss: loss.mean,
      trainAccuracy: loss.accuracy, learningRate: timetable.rate(at: step),
      imagesPerSecond: Double(samplesPerStep) / clock.recentSeconds)
    try observer.didStep(record, isLogged: (step + 1) % timetable.logEvery == 0)
    if let update { try observer.didUpdateTopology(update) }
  }

  /// Evaluates the model at the end of an epoch. False where the observer wanted a stop before that was done: nothing has changed then.
  private func finishEpoch(_ observer: some TrainingObserver) throws -> Bool {
    let epoch = progress.history.count
    try checkThatRanksAgree()
    func goesOn(_ samples: Int, _ count: Int) -> Bool {
      observer.didEvaluate(samples, of: count, epoch: epoch + 1)
      return !observer.wantsStop
    }
    guard let test = try evaluator.evaluate(model, while: goesOn) else { return false }
    let validation = try validator?.evaluate(model, while: goesOn)
    if validator != nil, validation == nil { return false }
    for (name, loss, part) in [("test", test, evaluator), ("validation", validation, validator)] {
      guard let loss, let part, !loss.total.isFinite else { continue }
      let place = part.brokenPlace(in: model).map { ": \($0) is not finite" } ?? ""
      throw EspalierError.diverged(
        "diverged by step \(progress.step), the end of epoch \(epoch + 1): the \(name) loss is \(loss.words)\(place); try a lower learning rate"
      )
    }
    soundStep = progress.step
    let steps = progress.step - epoch * timetable.stepsPerEpoch
    let record = EpochRecord(
      epoch: epoch + 1, trainLoss: progress.epochLoss / Double(max(1, steps)), test: test, validation: validation,
      nnz: model.connectionCounts.reduce(0, +))
    progress.history.append(record)
    progress.epochLoss = 0
    try observer.didFinishEpoch(record)
    return true
  }
}
