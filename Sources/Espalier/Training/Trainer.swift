import EspalierCore
import EspalierData
import EspalierTopology

/// Trains a model: data, forward, backward, then the optimizer or, on an update step, the topology.
public final class Trainer {
  public let model: Model
  public let timetable: TrainingTimetable
  let options: TrainingOptions
  let context: ComputeContext
  let random: CounterRandom
  let optimizer: SGD
  private let augmentation: Augmentation?
  private let loader: BatchLoader
  private let evaluator: Evaluator
  private let topology: TopologyStep?
  private var flops: FlopCounter
  private var clock = StepClock()
  private var history: [EpochRecord] = []
  private var updates = 0

  /// - Parameters:
  ///   - updater: moves connections; nil for a fixed topology.
  /// - Throws: `EspalierError.usage` for options out of range or a data set that does not fit the model.
  public init(
    model: Model, dataset: ImageDataset, normalization: Normalization, options: TrainingOptions,
    updater: (any TopologyUpdater)? = nil, updateMode: UpdateMode = .replace, context: ComputeContext
  ) throws {
    timetable = try TrainingTimetable(options, trainingSamples: dataset.train.count)
    self.model = model
    self.options = options
    self.context = context
    let random = CounterRandom(seed: options.seed)
    self.random = random
    optimizer = SGD(momentum: Float(options.momentum), weightDecay: Float(options.weightDecay))
    augmentation = options.augments ? Augmentation() : nil
    loader = try BatchLoader(
      dataset.train, of: dataset, normalization: normalization, input: model.spec.input, context: context)
    evaluator = try Evaluator(
      dataset: dataset, normalization: normalization, spec: model.spec, batchSize: options.batchSize, context: context)
    flops = FlopCounter(model)
    topology = try updater.map {
      try TopologyStep(updater: $0, mode: updateMode, model: model, random: random, context: context)
    }
  }

  /// Trains to the end of the timetable and tells nobody on the way.
  public func run() throws -> TrainingResult { try run(observer: NoObserver()) }

  /// Trains to the end of the timetable.
  ///
  /// - Throws: `EspalierError.diverged` where a loss or a gradient is not finite; what the observer throws.
  public func run(observer: some TrainingObserver) throws -> TrainingResult {
    for epoch in 0..<timetable.epochs {
      try runEpoch(epoch, observer: observer)
    }
    return TrainingResult(
      steps: timetable.steps, epochs: timetable.epochs, history: history, trainSeconds: clock.seconds,
      stepMillisecondsMedian: clock.medianMilliseconds,
      updateMillisecondsMedian: clock.medianUpdateMilliseconds,
      imagesPerSecond: Double(timetable.steps * options.batchSize) / max(clock.seconds, 1e-9),
      trainFlopsPerSample: flops.perSample, explorationRate: explorationRate, updates: updates)
  }

  private var explorationRate: Double? {
    guard let topology else {
      return Double(model.connectionCounts.reduce(0, +)) / Double(model.spec.sparsifiableWeights)
    }
    return topology.explored.map { Double($0) / Double(model.spec.sparsifiableWeights) }
  }

  private func runEpoch(_ epoch: Int, observer: some TrainingObserver) throws {
    let order = SampleOrder(
      count: loader.split.count, epoch: epoch, shuffled: options.shuffles, random: random)
    var total = 0.0
    var steps = 0
    let first = epoch * timetable.stepsPerEpoch
    var batches = loader.batches(
      in: order, size: options.batchSize, dropLast: true, augmentation: augmentation, epoch: epoch, random: random)
    for step in first..<min(first + timetable.stepsPerEpoch, timetable.steps) {
      let started = ContinuousClock.now
      guard let batch = try batches.next() else { break }
      let (loss, update) = try self.step(step, batch: batch)
      clock.record(ContinuousClock.now - started, isUpdate: update != nil)
      total += loss.mean
      steps += 1
      try report(step, loss: loss, update: update, to: observer)
    }
    let test = try evaluator(model)
    guard test.total.isFinite else {
      throw EspalierError.diverged(
        "diverged by the end of epoch \(epoch + 1): the test loss is \(test.mean); try a lower learning rate")
    }
    let record = EpochRecord(
      epoch: epoch + 1, trainLoss: total / Double(max(1, steps)), testLoss: test.mean,
      testAccuracy: Double(test.correct) / Double(test.samples))
    history.append(record)
    try observer.didFinishEpoch(record)
  }

  private func report(_ step: Int, loss: LossResult, update: UpdateRecord?, to observer: some TrainingObserver) throws {
    let record = StepRecord(
      step: step + 1, epoch: Double(step + 1) / Double(timetable.stepsPerEpoch), trainLoss: loss.mean,
      trainAccuracy: Double(loss.correct) / Double(loss.samples), learningRate: timetable.learningRate.rate(at: step),
      imagesPerSecond: Double(options.batchSize) / clock.recentSeconds)
    try observer.didStep(record, isLogged: (step + 1) % timetable.logEvery == 0)
    if let update { try observer.didUpdateTopology(update) }
  }

  /// One step: an optimizer step, or an update of the topology, or both.
  func step(_ step: Int, batch: Batch) throws -> (loss: LossResult, update: UpdateRecord?) {
    let tape = Tape(context: context, mode: .training(step: step))
    let logits = try model(Variable(batch.images), on: tape)
    let delta = context.pool.activations(logits.shape)
    let loss = batch.labels.withUnsafeBufferPointer {
      context.softmaxCrossEntropy(
        logits.value, labels: $0, labelSmoothing: Float(options.labelSmoothing), gradient: delta)
    }
    guard loss.total.isFinite else {
      throw EspalierError.diverged("diverged at step \(step + 1): the loss is \(loss.mean); try a lower learning rate")
    }
    let update = topology?.begin(step: step, on: tape)
    try tape.backward(from: logits, gradient: delta)
    flops.count(update: update)
    let record = try update?.finish()
    if record != nil { updates += 1 }
    if update == nil || update?.mode == .add {
      try checkGradients(step: step)
      let rate = timetable.learningRate.rate(at: step)
      optimizer.step(model.parameters, learningRate: Float(rate), context: context)
      if let rewired = try topology?.didStep(step, learningRate: rate) { return (loss, record ?? rewired) }
    }
    return (loss, record)
  }

  private func checkGradients(step: Int) throws {
    for parameter in model.parameters where !context.allFinite(parameter.gradient) {
      throw EspalierError.diverged(
        "diverged at step \(step + 1): a gradient of \(parameter.name) is not finite; try a lower learning rate")
    }
  }
}
