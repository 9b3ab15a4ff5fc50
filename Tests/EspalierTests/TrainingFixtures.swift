import Espalier
import EspalierCore
import EspalierData
import EspalierTopology

/// Everything that one small training run on made-up images depends on.
struct TrainingSetup {
  enum Method { case `static`, gse, set }

  var spec: ModelSpec
  var dataset: ImageDataset
  var sparsity = 0.8
  var method = Method.gse
  var mode = UpdateMode.replace
  var scope = SelectionScope.local
  var interval = 5
  var gamma = 1.0
  var alpha = 0.3
  var threads = 2
  var options: TrainingOptions
  var optimizer: (any Optimizer)?

  static let normalization = Normalization(mean: [0.4971], deviation: [0.2112])

  /// Convolutions with norms, ReLUs and pools, dropout, two linear layers; 8 x 8 images of 4 classes.
  static func convolutional(steps: Int = 24) throws -> TrainingSetup {
    let geometry = ConvolutionGeometry(kernel: 3, padding: 1)
    let spec = try ModelSpec(
      name: "small", input: FeatureSize(channels: 1, height: 8, width: 8), classes: 4,
      layers: [
        .convolution(name: "conv1", outChannels: 8, geometry: geometry), .batchNorm(name: "bn1", relu: true),
        .maxPool(PoolGeometry(kernel: 2)),
        .convolution(name: "conv2", outChannels: 16, geometry: geometry, bias: false), .batchNorm(name: "bn2"), .relu,
        .averagePool(PoolGeometry(kernel: 2)), .flatten, .dropout(probability: 0.25),
        .linear(name: "linear1", outputs: 32), .relu, .dropout(probability: 0.5), .linear(name: "linear2", outputs: 4),
      ])
    var options = TrainingOptions(epochs: nil, maxSteps: steps)
    options.batchSize = 40
    options.augments = true
    options.labelSmoothing = 0.1
    options.warmupEpochs = 0
    let dataset = try ImageDataset.synthetic(trainCount: 230, testCount: 50, seed: 5, classes: 4, height: 8, width: 8)
    return TrainingSetup(spec: spec, dataset: dataset, options: options)
  }

  /// `mlp` on 28 x 28 images of 10 classes: its first layer is large enough for the rule against dense buffers to bite.
  static func perceptron(steps: Int, hidden: [Int] = [96, 64]) throws -> TrainingSetup {
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(
        name: "mlp", hidden: hidden, images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10))
    var options = TrainingOptions(epochs: nil, maxSteps: steps)
    options.batchSize = 64
    options.learningRate = 0.05
    let dataset = try ImageDataset.synthetic(trainCount: 2000, testCount: 500, seed: 7)
    return TrainingSetup(spec: spec, dataset: dataset, sparsity: 0.9, options: options)
  }

  /// A model with its trainer.
  func make(ranks: RankGroup = RankGroup()) throws -> TrainingRun {
    let context = try ComputeContext(threads: threads, gamma: max(1, gamma))
    let random = CounterRandom(seed: options.seed)
    return try make(
      model: Model(sparse: spec, sparsity: sparsity, random: random, context: context), context, ranks: ranks)
  }

  /// A trainer of a given model.
  func make(model: Model, _ context: ComputeContext, ranks: RankGroup = RankGroup()) throws -> TrainingRun {
    let timetable = try TrainingTimetable(options, trainingSamples: dataset.train.count)
    let schedule = try timetable.updates(interval: interval, until: 0.9, alpha: alpha)
    let updater: (any TopologyUpdater)? =
      switch method {
      case .static: nil
      case .gse: try GSE(schedule: schedule, gamma: gamma, scope: scope)
      case .set: SET(schedule: schedule, scope: scope)
      }
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: Self.normalization, options: options, optimizer: optimizer,
      updater: updater, updateMode: mode, ranks: ranks, context: context)
    return TrainingRun(context: context, model: model, trainer: trainer)
  }

  /// Trains to the end.
  func train() throws -> (run: TrainingRun, result: TrainingResult, recorder: TrainingRecorder) {
    let run = try make()
    let recorder = TrainingRecorder()
    return (run, try run.trainer.run(observer: recorder), recorder)
  }
}

struct TrainingRun {
  let context: ComputeContext
  let model: Model
  let trainer: Trainer
}

/// Keeps what a trainer tells, and lets a test look on.
final class TrainingRecorder: TrainingObserver {
  var steps: [StepRecord] = []
  var loggedSteps: [Int] = []
  var updates: [UpdateRecord] = []
  var epochs: [EpochRecord] = []
  var evaluated: [(epoch: Int, samples: Int, count: Int)] = []
  var onStep: (StepRecord) throws -> Void = { _ in }
  var onUpdate: (UpdateRecord) throws -> Void = { _ in }

  func didStep(_ record: StepRecord, isLogged: Bool) throws {
    steps.append(record)
    if isLogged { loggedSteps.append(record.step) }
    try onStep(record)
  }

  func didUpdateTopology(_ record: UpdateRecord) throws {
    updates.append(record)
    try onUpdate(record)
  }

  func didEvaluate(_ samples: Int, of count: Int, epoch: Int) { evaluated.append((epoch, samples, count)) }

  func didFinishEpoch(_ record: EpochRecord) throws { epochs.append(record) }
}

/// One connection of one layer.
struct Connection: Hashable {
  let layer, row, column: Int
}

extension SparseParameter {
  /// What each connection has in `buffer`.
  func byConnection(_ buffer: [Float]) -> [Connection: Float] {
    let structure = matrix.structure
    var result: [Connection: Float] = [:]
    for row in 0..<structure.rows {
      for position in structure.positions(ofRow: row) {
        let column = Int(structure.columnIndices[position])
        result[Connection(layer: index, row: row, column: column)] = buffer[position]
      }
    }
    return result
  }

  var weights: [Connection: Float] { byConnection(matrix.withValues { Array($0) }) }
}

extension Model {
  var activeConnections: Set<Connection> {
    sparseParameters.reduce(into: []) { $0.formUnion($1.weights.keys) }
  }
}
