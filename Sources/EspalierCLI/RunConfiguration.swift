import Espalier
import EspalierBaselines
import EspalierCore
import EspalierData
import EspalierTopology
import Foundation

/// Everything that a run depends on, resolved: what `config.yaml` holds, under the flags' names.
struct RunConfiguration: Codable, Hashable {
  var model = "vgg16-small"
  var width = 1.0
  /// Of `mlp` alone.
  var hidden: [Int]?
  var dataset = "fashion-mnist"
  var dataDir: String?
  var method = Method.gse
  var guide = Guide.uniform
  var scope = SelectionScope.local
  var updateMode = UpdateMode.replace
  var sparsity = 0.9
  var initialSparsity: Double?
  /// Of `topkast` alone.
  var backwardSparsity: Double?
  /// Of `gradual` alone.
  var pruneSchedule: GradualPruning.Decay?
  /// Of `lottery` alone.
  var rounds, rewindStep: Int?
  var distribution = DistributionName.erdosRenyi
  var rewire: Double?
  var gamma = 1.0
  /// Of `gse` alone.
  var exactSubset: Bool?
  var wholeDenseLayers: Bool?
  var extraBatches: Int?
  var audit: Int?
  var alpha = 0.2
  var updateEvery = 0
  var updateUntil = 0.75
  var epochs: Int?
  var maxSteps: Int?
  var batchSize = 128
  var learningRate = 0.1
  var momentum = 0.9
  var weightDecay = 1e-4
  var optimizer = OptimizerKind.sgd
  var schedule = ScheduleKind.step
  var warmupEpochs = 0.0
  var milestones: [Double] = []
  var labelSmoothing = 0.0
  var clipNorm: Double?
  var powerprop: Double?
  var deepHoyer: Double?
  var accumulate = 1
  /// Of several ranks.
  var localNorms: Bool?
  var augment = false
  /// Of pictures in files.
  var crop: TrainingCrop?
  var shuffle = true
  var seed: UInt64 = 0
  var threads = 1
  var initialWeights: String?
  var output = "runs"
  var maxTime: String?
  var checkpointEvery = 1
  var keep = 2
  var logEvery = 1
  var validation = 0.0

  enum DistributionName: String, Codable, CaseIterable {
    case erdosRenyi = "erdos-renyi"
    case erk, uniform
    case smallWorld = "small-world"

    var distribution: any Distribution {
      switch self {
      case .erdosRenyi, .smallWorld: ErdosRenyi()
      case .erk: ErdosRenyiKernel()
      case .uniform: UniformDistribution()
      }
    }
  }

  enum CodingKeys: String, CodingKey, CaseIterable {
    case model, width, hidden, dataset
    case dataDir = "data-dir"
    case method, guide, scope
    case updateMode = "update-mode"
    case sparsity
    case initialSparsity = "initial-sparsity"
    case backwardSparsity = "backward-sparsity"
    case pruneSchedule = "prune-schedule"
    case rounds
    case rewindStep = "rewind-step"
    case distribution, rewire, gamma
    case exactSubset = "exact-subset"
    case wholeDenseLayers = "whole-dense-layers"
    case extraBatches = "extra-batches"
    case audit, alpha
    case updateEvery = "update-every"
    case updateUntil = "update-until"
    case epochs
    case maxSteps = "max-steps"
    case batchSize = "batch-size"
    case learningRate = "lr"
    case momentum
    case weightDecay = "weight-decay"
    case optimizer, schedule
    case warmupEpochs = "warmup-epochs"
    case milestones
    case labelSmoothing = "label-smoothing"
    case clipNorm = "clip-norm"
    case powerprop
    case deepHoyer = "deephoyer"
    case accumulate
    case localNorms = "local-batch-norm"
    case augment, crop, shuffle, seed, threads
    case initialWeights = "init"
    case output
    case maxTime = "max-time"
    case checkpointEvery = "checkpoint-every"
    case keep
    case logEvery = "log-every"
    case validation
  }

  /// Which connections a run begins with. `small-world` shares them among layers as `erdos-renyi` does.
  var graph: InitialGraph {
    distribution == .smallWorld ? .smallWorld(rewiring: rewiring) : .random
  }

  /// The probability that a connection of a ring lattice is rewired.
  var rewiring: Double { rewire ?? 0.1 }

  /// - Throws: `EspalierError.usage` for values out of range that nothing else looks at.
  func validateCheckpoints() throws {
    _ = try maxTime.map(TimeLimit.init)
    guard checkpointEvery >= 1 else {
      throw EspalierError.usage("checkpoint-every: \(checkpointEvery) is out of range; expected at least 1 step")
    }
    guard keep >= 1 else { throw EspalierError.usage("keep: \(keep) is out of range; expected at least 1 checkpoint") }
  }

  /// The library's options for these settings.
  var trainingOptions: TrainingOptions {
    var options = TrainingOptions(epochs: epochs, maxSteps: maxSteps)
    options.rounds = rounds ?? 1
    options.batchSize = batchSize
    options.learningRate = learningRate
    options.momentum = momentum
    options.weightDecay = weightDecay
    options.optimizer = optimizer
    options.schedule = schedule
    options.clipNorm = clipNorm
    options.accumulate = accumulate
    options.localNorms = localNorms ?? false
    options.powerprop = powerprop ?? 1
    options.deepHoyer = deepHoyer ?? 0
    options.validation = validation
    options.warmupEpochs = warmupEpochs
    options.milestones = milestones
    options.labelSmoothing = labelSmoothing
    options.augments = augment
    options.crop = crop ?? .resized
    options.shuffles = shuffle
    options.seed = seed
    options.logEvery = logEvery
    options.extraBatches = extraBatches ?? 0
    options.audit = audit ?? 0
    return options
  }

  /// The model that they name, for a data set's images.
  func modelRequest(for description: DatasetDescription) -> ModelCatalog.Request {
    ModelCatalog.Request(
      name: model, width: width, hidden: hidden ?? ModelCatalog.defaultHidden,
      images: description.images(forModel: model),
      classes: description.classes)
  }
}

extension DatasetDescription {
  /// The size of the images that the named model gets. Pictures in folders are brought to 32 x 32 for models of small images.
  func images(forModel model: String) -> FeatureSize {
    let isSmall = isResizable && model != "mlp" && !ModelCatalog.isForImageNet(model)
    return FeatureSize(channels: channels, height: isSmall ? 32 : height, width: isSmall ? 32 : width)
  }
}
