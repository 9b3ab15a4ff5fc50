import EspalierCore
import EspalierData

/// A model's loss and accuracy on a data set's test images, or on a split of its training images.
public struct Evaluator {
  private let loader: BatchLoader
  private let context: ComputeContext
  private let ranks: RankGroup
  private let batchSize: Int
  /// From 100 classes up.
  private let countsTopFive: Bool

  /// - Parameters:
  ///   - dataset: whose images, and how many classes, there are.
  ///   - split: what to evaluate on; by default the test images.
  ///   - normalization: as in training.
  ///   - spec: the model's description.
  ///   - batchSize: samples of one forward pass; results do not depend on it.
  ///   - ranks: who evaluates the images together, each a part; by default this process alone.
  ///   - context: what computes.
  /// - Throws: `EspalierError.usage` where the data set's classes or images do not fit the model.
  public init(
    dataset: ImageDataset, split: ImageSplit? = nil, normalization: Normalization, spec: ModelSpec,
    batchSize: Int = 128, ranks: RankGroup = RankGroup(), context: ComputeContext
  ) throws {
    guard dataset.classes == spec.classes else {
      throw EspalierError.usage(
        "\(spec.name): has \(spec.classes) classes, data set \(dataset.name) has \(dataset.classes)")
    }
    loader = try BatchLoader(
      split ?? dataset.test, of: dataset, normalization: normalization, input: spec.input, context: context)
    self.batchSize = batchSize
    self.ranks = ranks
    countsTopFive = spec.classes >= 100
    self.context = context
  }

  /// Sums over all images; the last batch may be smaller than the others. Images that cannot be decoded are left out.
  ///
  /// - Parameters:
  ///   - model: one of the description that this evaluator was made for.
  ///   - progress: is told after each batch how many images are done, and of how many.
  public func callAsFunction(
    _ model: Model, progress: (_ samples: Int, _ count: Int) -> Void = { _, _ in }
  ) throws -> LossResult {
    let result = try evaluate(model) { samples, count in
      progress(samples, count)
      return true
    }
    guard let result else { throw EspalierError.invariant("evaluation: stopped, which nobody asked for") }
    return result
  }

  /// The same; nil where `goesOn`, which is asked after each batch but the last, was false.
  func evaluate(_ model: Model, while goesOn: (_ samples: Int, _ count: Int) -> Bool) throws -> LossResult? {
    let order = SampleOrder(count: loader.split.count, epoch: 0, shuffled: false, random: CounterRandom(seed: 0))
    var total = 0.0
    var correct = 0
    var samples = 0
    var inTopFive = 0
    let slice = ranks.part(of: batchSize, rank: ranks.rank)
    let (count, rounds) = (loader.split.count, (loader.split.count + batchSize - 1) / batchSize)
    var batches = loader.batches(in: order, size: batchSize, slice: slice, dropLast: false)
    for round in 1..<rounds + 1 {
      // Of the last batch, or where images are damaged, a rank may have nothing.
      if let batch = try batches.next() {
        let tape = Tape(context: context, mode: .evaluation)
        let logits = try model(Variable(batch.images), on: tape)
        let result = batch.labels.withUnsafeBufferPointer { context.softmaxCrossEntropy(logits.value, labels: $0) }
        total += result.total
        correct += result.correct
        samples += batch.labels.count
        if countsTopFive {
          inTopFive += batch.labels.withUnsafeBufferPointer {
            context.countCorrect(amongLargest: 5, logits.value, labels: $0)
          }
        }
      }
      let stops = !goesOn(min(samples * ranks.size, count), count)
      if round < rounds, ranks.any(stops) { return nil }
    }
    let result = ranks.sum(
      LossResult(
        total: total, correct: correct, samples: samples, correctInTopFive: countsTopFive ? inTopFive : nil))
    guard result.samples > 0 else {
      throw EspalierError.input(
        "evaluation: none of the \(loader.split.count) images can be decoded; is the data set whole?")
    }
    return result
  }

  /// What of a model with a loss that is not finite is not finite either, in words: the first piece of its state, else the first output
  /// for the first batch that makes one.
  package func brokenPlace(in model: Model) -> String? {
    if let name = model.firstBrokenTensor(context) { return name }
    let order = SampleOrder(count: loader.split.count, epoch: 0, shuffled: false, random: CounterRandom(seed: 0))
    var batches = loader.batches(in: order, size: batchSize, dropLast: false)
    while let batch = try? batches.next() {
      if let place = model.firstBrokenOutput(batch, on: Tape(context: context, mode: .evaluation)) { return place }
    }
    return nil
  }
}
