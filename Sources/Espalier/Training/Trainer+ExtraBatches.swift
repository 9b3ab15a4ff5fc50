import EspalierCore
import EspalierData

extension Trainer {
  /// Runs further training batches forward and backward and adds their gradients at the candidates to the update's scores
  /// (Heddes et al., arXiv 2401.06898, reference code: extra batches an update).
  ///
  /// They are the first of a random order of the training set that belongs to the step alone, so a resumed run sees the same. Batch norm uses
  /// their own statistics and dropout masks of their own; running statistics and the step's gradients stay as they are.
  func addExtraBatches(to update: TopologyStep.Update, step: Int) throws {
    let started = ContinuousClock.now
    let kept = model.keptVectors
    // Orders of steps are numbered from the end, those of epochs from the beginning.
    let epoch = Int(UInt32.max) - step
    var batches = loader.batches(
      in: SampleOrder(count: loader.split.count, epoch: epoch, shuffled: true, random: random),
      size: options.batchSize, slice: slice, dropLast: true, augmentation: augmentation, epoch: epoch, random: random)
    for number in 0..<options.extraBatches {
      guard let batch = try batches.next() else {
        throw EspalierError.invariant("step \(step + 1): the training set has no extra batch left")
      }
      try backward(batch, number: step * options.extraBatches + number, update: update, step: step)
    }
    kept.restore()
    update.count(ContinuousClock.now - started)
  }

  private func backward(_ batch: Batch, number: Int, update: TopologyStep.Update, step: Int) throws {
    let tape = makeTape(number: Int(UInt32.max) - number % Int(UInt32.max))
    tape.computesSparseGradients = false
    let before = update.exploredFlops
    tape.gradientSiteVisitor = { update.addScores(of: $0) }
    let logits = try model(Variable(batch.images), on: tape)
    let delta = context.pool.activations(logits.shape)
    let own = batch.labels.withUnsafeBufferPointer {
      context.softmaxCrossEntropy(
        logits.value, labels: $0, labelSmoothing: Float(options.labelSmoothing), gradient: delta,
        batch: options.batchSize)
    }
    let loss = ranks.sum(own)
    guard loss.total.isFinite else {
      throw EspalierError.diverged(
        "diverged at step \(step + 1): the loss of an extra batch is \(loss.words); try a lower learning rate")
    }
    try tape.backward(from: logits, gradient: delta)
    flops.countExtraBatch(exploredFlops: update.exploredFlops - before)
  }
}

/// Copies of vectors, to be put back.
private struct KeptVectors {
  let pairs: [(original: MeteredBuffer<Float>, copy: [Float])]

  func restore() {
    for (original, copy) in pairs { _ = original.buffer.update(fromContentsOf: copy) }
  }
}

extension Model {
  /// Running statistics and the gradients of biases and norms.
  fileprivate var keptVectors: KeptVectors {
    let vectors = parameters.filter { !($0 is SparseParameter) }
    return KeptVectors(pairs: (runningStatistics + vectors.map(\.gradient)).map { ($0, $0.array) })
  }

  /// What no optimizer trains.
  var runningStatistics: [MeteredBuffer<Float>] {
    let names = Set(parameters.map(\.name))
    return state.compactMap { tensor in
      guard case .dense(let name, _, let values) = tensor, !names.contains(name) else { return nil }
      return values
    }
  }
}
