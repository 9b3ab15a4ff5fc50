import EspalierCore
import EspalierData
import EspalierTopology

/// A network that is pruned once, before it is trained: of the weights of a dense initialisation those with the largest scores stay, chosen over the
/// whole network; they keep their values and their structure never moves.
///
/// The initial weights are computed tile by tile and stored nowhere (`ProceduralWeights`), and so are the scores: two passes of histograms over their bits
/// find the cut and a third collects (`ScoreSelection`). Memory is that of the activations and of some tiles; time is rows * columns, several times. Budgets
/// are met exactly, ties go to the first weight, and each layer keeps at least one.
///
/// Departure: with an empty layer a network could not learn; the papers do not exclude one.
public enum StartScore: String, Sendable, CaseIterable, Codable {
  /// |w dL/dw| on some samples (Lee, Ajanthan, Torr, arXiv 1810.02340, section 4.1). Ten samples a class, rounded up to batches,
  /// in training mode; the batches' gradients are added up. Keeps each layer's input and output gradient for all of these batches; six passes over
  /// the weights' random numbers, five products.
  case snip
  /// |w dR/dw| with R = 1' |W_L| ... |W_1| 1, in 100 rounds that keep the fraction (1 - sparsity)^(round / 100) (Tanaka, Kunin, Yamins, Ganguli, arXiv
  /// 2006.05467, section 5, algorithm 1). No data. Also keeps one bit a weight between rounds (`ConnectionMask`). Each round is a pass of
  /// one sample and three of scores over the weights that live.
  case synflow
  /// w (H g), signed, with the loss's gradient g and Hessian H on 25 samples a class: the largest stay (Wang, Zhang, Grosse, arXiv 2002.07376,
  /// section 4, whose score is -w H g and whose highest go). H g is the central difference (g(w + e g) - g(w - e g)) / 2 e (Pearlmutter, Neural
  /// Computation 6(1), 1994, section 2) with e |g| = |w| / 200: where a unit of a ReLU network switches within that, the difference counts it, which
  /// autograd's second derivative does not. Weights w + e g are computed tile by tile, too: g is the product of what `snip` keeps, which is kept three
  /// times here. Fourteen passes over the weights' random numbers, twenty products. The code's temperature of 200 and its second
  /// initialisation of linear layers are left out.
  case grasp
  /// |w|: what magnitude pruning leaves of the initial weights. Three passes over the weights' random numbers.
  case magnitude
}

/// What choosing a network's connections before its training took.
public struct StartCost: Sendable, Codable, Hashable {
  /// Wall time.
  public let seconds: Double
  /// Floating-point operations in all.
  public let flops: Double
}

extension Model {
  /// A static sparse model of the weights with the largest scores.
  ///
  /// - Parameters:
  ///   - spec: the model's description.
  ///   - score: what the weights are chosen by.
  ///   - sparsity: fraction of the weights that go.
  ///   - dataset: what the model is to be trained with; SNIP and GraSP look at training batches.
  ///   - normalization: of the pixels.
  ///   - options: how it is to be trained.
  ///   - context: what computes, and counts the model's memory.
  ///   - progress: is told what is being done, in words, from time to time; an error that it throws ends it.
  /// - Throws: `EspalierError.usage` for a sparsity that leaves fewer connections than layers, and where this machine's memory cannot hold what SNIP or
  ///   GraSP keep; `EspalierError.diverged` for scores that are not finite; what `progress` throws.
  public static func scored(
    _ spec: ModelSpec, by score: StartScore, sparsity: Double, dataset: ImageDataset, normalization: Normalization,
    options: TrainingOptions, context: ComputeContext, progress: @escaping (String) throws -> Void = { _ in }
  ) throws -> (model: Model, start: UpdateRecord, cost: StartCost) {
    let started = ContinuousClock.now
    let random = CounterRandom(seed: options.seed)
    // For its checks alone.
    let budgets = try UniformDistribution().budgets(for: spec.weightLayers.map(\.shape), sparsity: sparsity)
    let scoring = Scoring(
      spec: spec, connections: budgets.reduce(0, +), sparsity: sparsity, random: random, context: context,
      progress: progress)
    let chosen: [(structure: SparseStructure, values: MeteredBuffer<Float>)]
    let flops: Double
    switch score {
    case .magnitude: (chosen, flops) = try scoring.magnitude()
    case .synflow: (chosen, flops) = try scoring.synflow()
    case .snip, .grasp:
      let batches = try ScoringBatches(
        samplesPerClass: score == .snip ? 10 : 25, spec: spec, dataset: dataset, normalization: normalization,
        options: options, context: context)
      try scoring.requireMemory(for: batches, copies: score == .snip ? 1 : 3)
      (chosen, flops) = try score == .snip ? scoring.snip(batches) : scoring.grasp(batches)
    }
    let factory = ChosenLayerFactory(chosen: chosen, random: random, context: context)
    let model = try Model(spec, factory: factory, random: random, context: context)
    guard model.connections == scoring.connections else {
      throw EspalierError.invariant("scores: \(model.connections) connections, expected \(scoring.connections)")
    }
    try context.meter.check()
    let seconds = (ContinuousClock.now - started).seconds
    return (
      model, model.startRecord(sparsity: sparsity, seconds: seconds), StartCost(seconds: seconds, flops: flops)
    )
  }

  /// The line of topology.jsonl that says what a start left of the dense layers.
  private func startRecord(sparsity: Double, seconds: Double) -> UpdateRecord {
    let layers = sparseParameters.map { parameter in
      let (matrix, size) = (parameter.matrix, parameter.matrix.rows * parameter.matrix.columns)
      return LayerUpdateRecord(
        name: parameter.layerName, nnz: parameter.count, candidates: size, grown: 0, pruned: size - parameter.count,
        emptyRows: matrix.structure.emptyRows,
        emptyColumns: matrix.structure.emptyColumns(site: matrix.site, meter: matrix.meter),
        explorationRate: Double(parameter.count) / Double(size))
    }
    return UpdateRecord(step: 0, fraction: sparsity, seconds: seconds, layers: layers)
  }
}

/// The batches that scores look at: the first that training will see.
package struct ScoringBatches {
  private var reader: BatchReader
  private let batchCount: Int
  let options: TrainingOptions

  /// As many as hold `samplesPerClass` samples a class, or all.
  package init(
    samplesPerClass: Int, spec: ModelSpec, dataset: ImageDataset, normalization: Normalization,
    options: TrainingOptions, context: ComputeContext
  ) throws {
    let random = CounterRandom(seed: options.seed)
    let split =
      try options.validation > 0
      ? dataset.train.heldOut(fraction: options.validation, random: random).train : dataset.train
    let loader = try BatchLoader(
      split, of: dataset, normalization: normalization, input: spec.input, context: context)
    let order = SampleOrder(count: split.count, epoch: 0, shuffled: options.shuffles, random: random)
    reader = loader.batches(
      in: order, size: options.batchSize, dropLast: true, augmentation: options.augmentation,
      epoch: 0, random: random)
    batchCount = (samplesPerClass * spec.classes + options.batchSize - 1) / options.batchSize
    self.options = options
  }

  /// How many they hold in all.
  var samples: Int { min(batchCount, reader.batches.count) * options.batchSize }

  /// Shows each batch with its number.
  package func forEach(_ body: (Int, Batch) throws -> Void) throws {
    var reader = reader
    for number in 0..<batchCount {
      guard let batch = try reader.next() else { return }
      try body(number, batch)
    }
  }
}
