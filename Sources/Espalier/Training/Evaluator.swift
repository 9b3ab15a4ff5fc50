import EspalierCore
import EspalierData

/// A model's loss and accuracy on a data set's test images.
public struct Evaluator {
  private let loader: BatchLoader
  private let context: ComputeContext
  private let batchSize: Int

  /// - Throws: `EspalierError.usage` where the data set's classes or images do not fit the model.
  public init(
    dataset: ImageDataset, normalization: Normalization, spec: ModelSpec, batchSize: Int = 128,
    context: ComputeContext
  ) throws {
    guard dataset.classes == spec.classes else {
      throw EspalierError.usage(
        "\(spec.name): has \(spec.classes) classes, data set \(dataset.name) has \(dataset.classes)")
    }
    loader = try BatchLoader(
      dataset.test, of: dataset, normalization: normalization, input: spec.input, context: context)
    self.batchSize = batchSize
    self.context = context
  }

  /// Sums over all test images; the last batch may be smaller than the others.
  public func callAsFunction(_ model: Model) throws -> LossResult {
    let order = SampleOrder(count: loader.split.count, epoch: 0, shuffled: false, random: CounterRandom(seed: 0))
    var total = 0.0
    var correct = 0
    var batches = loader.batches(in: order, size: batchSize, dropLast: false)
    while let batch = try batches.next() {
      let tape = Tape(context: context, mode: .evaluation)
      let logits = try model(Variable(batch.images), on: tape)
      let result = batch.labels.withUnsafeBufferPointer { context.softmaxCrossEntropy(logits.value, labels: $0) }
      total += result.total
      correct += result.correct
    }
    return LossResult(total: total, correct: correct, samples: loader.split.count)
  }
}
