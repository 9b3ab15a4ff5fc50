import EspalierCore
import EspalierTopology

extension Trainer {
  /// One step: an optimizer step on the mean gradient of its batches, or an update of the topology, or both.
  func step(_ step: Int, from batches: inout BatchReader) throws -> (loss: LossResult, update: UpdateRecord?) {
    var record = try prepare(step)
    var (total, correct, samples) = (0.0, 0, 0)
    var update: TopologyStep.Update?
    for part in 0..<options.accumulate {
      guard let batch = try phases.measure(.data, { try batches.next() }) else {
        throw EspalierError.invariant("step \(step + 1): the epoch has no batch left")
      }
      let loss: LossResult
      (loss, update) = try pass(batch, step: step, part: part)
      total += loss.total
      correct += loss.correct
      samples += loss.samples
      if update?.mode != .replace {
        phases.measure(.optimizer) { accumulator.add(part: part, of: model.trained, context: context) }
      }
    }
    if update?.mode != .replace { phases.measure(.optimizer) { sumGradients() } }
    averageStatistics()
    soundStep = step
    if let update, options.extraBatches > 0 {
      try phases.measure(.growth) { try addExtraBatches(to: update, step: step) }
    }
    if let update { record = try phases.measure(.growth) { try update.finish() } }
    if update?.mode != .replace {
      try phases.measure(.optimizer) { try moveWeights(step: step) }
      let rewired = try phases.measure(.growth) {
        try topology?.didStep(step, learningRate: timetable.rate(at: step))
      }
      record = record ?? rewired
      record = try phases.measure(.growth) { try denseMethod?.didStep(step) } ?? record
    }
    if record != nil {
      progress.updates += 1
      try checkThatRanksAgree()
    }
    return (LossResult(total: total, correct: correct, samples: samples), record)
  }

  /// What a method with dense weights does before a step.
  private func prepare(_ step: Int) throws -> UpdateRecord? {
    guard let restart = try denseMethod?.willStep(step) else { return nil }
    for parameter in model.parameters { parameter.optimizerState = [] }
    progress.optimizerSteps = 0
    return restart
  }

  /// Forward and backward on one batch; the last of a step's is the one that an update looks at.
  private func pass(_ batch: Batch, step: Int, part: Int) throws -> (loss: LossResult, update: TopologyStep.Update?) {
    let tape = makeTape(step: step, part: part)
    tape.phases = phases
    let (logits, delta, loss) = try phases.measure(.forward) {
      let logits = try model(Variable(batch.images), on: tape)
      let delta = context.pool.activations(logits.shape)
      let loss = batch.labels.withUnsafeBufferPointer {
        context.softmaxCrossEntropy(
          logits.value, labels: $0, labelSmoothing: Float(options.labelSmoothing), gradient: delta,
          batch: options.batchSize)
      }
      return (logits, delta, ranks.sum(loss))
    }
    guard loss.total.isFinite else {
      throw EspalierError.diverged(
        "diverged at step \(step + 1): the loss is \(loss.words)\(brokenPlace(batch, step: step, part: part)); try a lower learning rate"
      )
    }
    let update = part == options.accumulate - 1 ? topology?.begin(step: step, on: tape) : nil
    try phases.measure(.inputGradient) { _ = try tape.backward(from: logits, gradient: delta) }
    flops.count(update: update)
    return (loss, update)
  }

  /// The same step and part draw the same dropout masks.
  private func makeTape(step: Int, part: Int) -> Tape { makeTape(number: step * options.accumulate + part) }

  private func moveWeights(step: Int) throws {
    denseMethod?.willMoveWeights()
    let parameters = model.trained
    if options.deepHoyer > 0 {
      for parameter in model.sparseParameters { DeepHoyer(lambda: options.deepHoyer)(parameter) }
    }
    for parameter in parameters where !context.allFinite(parameter.gradient) {
      throw EspalierError.diverged(
        "diverged at step \(step + 1): a gradient of \(parameter.name) is not finite; try a lower learning rate")
    }
    progress.optimizerSteps += 1
    func moveNumbers() {
      if let clipNorm = options.clipNorm { GradientClipping(maximum: clipNorm)(parameters, context: context) }
      optimizer.step(
        parameters, number: progress.optimizerSteps, learningRate: timetable.rate(at: step), context: context)
    }
    if options.powerprop > 1 {
      Powerpropagation(alpha: options.powerprop)(parameters, moveNumbers)
    } else {
      moveNumbers()
    }
  }

  /// Where a forward pass first makes numbers that are not finite, in words that follow the loss.
  ///
  /// Runs the batch once more, layer by layer; the run has ended, so that it does not matter that running statistics move.
  private func brokenPlace(_ batch: Batch, step: Int, part: Int) -> String {
    let tape = makeTape(step: step, part: part)
    tape.ranks = nil  // others may stop at another layer
    let place = model.firstBrokenTensor(context) ?? model.firstBrokenOutput(batch, on: tape)
    return place.map { ": \($0) is not finite" } ?? ""
  }
}

extension TrainingOptions {
  func makeOptimizer() -> any Optimizer {
    switch optimizer {
    case .sgd: SGD(momentum: Float(momentum), weightDecay: Float(weightDecay))
    case .adamw: AdamW(weightDecay: weightDecay)
    }
  }
}
