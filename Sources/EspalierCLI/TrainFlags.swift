import ArgumentParser
import Espalier
import EspalierBaselines
import EspalierData

/// What is not given.
private let standard = RunConfiguration()

/// `train`'s flags as given; what is not given is nil until `resolve` settles it.
struct TrainFlags: ParsableArguments {
  // Both are replaced by the flags that they stand for before anything is parsed (`ArgumentExpansion`); here they are for the help.
  @Option(help: "A YAML file whose keys are these flags, such as a run's config.yaml; flags beside it win.") var config:
    String?
  @Option(help: "A recipe, e.g. cifar10-resnet56-98; flags beside it win.") var preset: String?
  @Option(help: "The model (\(standard.model)): \(ModelCatalog.names.joined(separator: ", ")).") var model: String?
  @Option(help: "Multiplies the model's channels (\(standard.width)).") var width: Double?
  @Option(
    help:
      "mlp only: units of the hidden layers (\(ModelCatalog.defaultHidden.map(String.init).joined(separator: ","))).")
  var hidden: String?
  @Option(help: "The data set (\(standard.dataset)): \(DatasetCatalog.names.joined(separator: ", ")).")
  var dataset: String?
  @Option(help: "The folder that holds the data set; by default each set's usual places.") var dataDir: String?
  @Option(
    help: """
      The method (\(standard.method.rawValue)): \(RunConfiguration.Method.allCases.map(\.rawValue).joined(separator: ", ")). itop is set, itop-rigl is rigl, with the moved \
      fraction falling to 0.005 instead of 0; snfs grows among sampled candidates, snfs-dense among all.
      """)
  var method: String?
  @Option(help: "gse only: what guides exploration: uniform, grabo or graest (\(standard.guide.rawValue)).")
  var guide: String?
  @Option(
    help:
      "gse, set, itop, rigl, itop-rigl, gradual, lottery: where connections compete: local (in their layer) or global (\(standard.scope.rawValue))."
  )
  var scope: String?
  @Option(
    help:
      "Whether an update takes the place of the optimizer's step: replace or add (\(standard.updateMode.rawValue))."
  ) var updateMode: String?
  @Option(help: "Fraction of weights that do not exist: 0 <= s < 1 (\(standard.sparsity)).") var sparsity: Double?
  @Option(help: "granet only: the sparsity that it begins with (\(standard.denserStart)).")
  var initialSparsity: Double?
  @Option(help: "topkast only: the sparsity of what is trained (by default twice as many weights as are used).")
  var backwardSparsity: Double?
  @Option(help: "gradual only: how the sparsity rises: cubic or cosine (\(GradualPruning.Decay.cubic.rawValue)).")
  var pruneSchedule: String?
  @Option(help: "lottery only: trainings in a row (\(standard.trainings)), of --epochs each.") var rounds: Int?
  @Option(help: "lottery only: the step whose weights a round begins with (0).") var rewindStep: Int?
  @Option(
    help: """
      How layers share the connections (\(standard.distribution.rawValue)): erdos-renyi, erk, uniform, or small-world: as erdos-renyi, but each layer begins as a ring lattice with some \
      connections rewired. Methods that choose over the whole network, and those with dense weights but snfs-dense, share them by themselves.
      """)
  var distribution: String?
  @Option(help: "small-world only: the probability that a connection is rewired (\(standard.rewiring)).")
  var rewire: Double?
  @Option(help: "gse, snfs: candidates drawn a connection (\(standard.gamma)).") var gamma: Double?
  @Flag(
    inversion: .prefixedNo,
    help:
      "gse only: gamma candidates a connection, all distinct, rather than what as many draws hit (fewer where a guide is too skewed)."
  )
  var exactSubset: Bool?
  @Flag(
    inversion: .prefixedNo, help: "gse only: layers with half of their connections or more examine all of the others.")
  var wholeDenseLayers: Bool?
  @Option(help: "gse only: further training batches whose gradients, summed, decide which candidates grow (0).")
  var extraBatches: Int?
  @Option(help: "gse only: rows of each layer whose whole gradient updates are compared with in topology.jsonl (0).")
  var audit: Int?
  @Option(
    help: "Fraction of connections that the first update moves; dsr: that each aims at (\(standard.alpha)).")
  var alpha: Double?
  @Option(help: "Steps between updates (1000, in short runs fewer: a fortieth of the steps, at least 10).")
  var updateEvery: Int?
  @Option(help: "Fraction of all steps after which connections stay (\(standard.updateUntil)).")
  var updateUntil: Double?
  @Option(help: "Passes over the training set (10, without --max-steps).") var epochs: Int?
  @Option(help: "Steps after which training ends; without --epochs also what schedules stretch over.") var maxSteps:
    Int?
  @Option(help: "Samples a step, on all ranks together (\(standard.batchSize)).") var batchSize: Int?
  @Flag(help: "mpirun only: each rank normalises its part of a batch by statistics of its own.") var localBatchNorm =
    false
  @Option(
    name: .customLong("lr"), help: "Learning rate (\(standard.learningRate); mlp 0.05, transformers 0.01).")
  var learningRate: Double?
  @Option(help: "SGD's momentum (\(standard.momentum)).") var momentum: Double?
  @Option(help: "Weight decay, on all parameters (\(standard.weightDecay)).") var weightDecay: Double?
  @Option(
    help: "The optimizer (\(standard.optimizer.rawValue)): sgd or adamw, whose --lr is best around 0.001.")
  var optimizer: String?
  @Option(
    help:
      "Learning rate schedule (\(standard.schedule.rawValue)): step (a tenth at each milestone) or cosine (to zero)."
  ) var schedule: String?
  @Option(help: "Epochs of linear warm-up, fractions allowed (0.025 of all).") var warmupEpochs: Double?
  @Option(help: "Epochs at which the learning rate drops to a tenth, e.g. 80,120 (0.4 and 0.6 of all).") var milestones:
    String?
  @Option(help: "Label smoothing (\(standard.labelSmoothing)).") var labelSmoothing: Double?
  @Option(help: "Largest norm of all gradients together (none).") var clipNorm: Double?
  @Option(help: "Powerpropagation's alpha, from 1 (none, the default) to 8: sparse weights are phi |phi|^(alpha - 1).")
  var powerprop: Double?
  @Option(name: .customLong("deephoyer"), help: "Weight of DeepHoyer's regularizer on the sparse weights in use (0).")
  var deepHoyer: Double?
  @Option(help: "Batches a step, whose mean gradient moves the weights (\(standard.accumulate)).")
  var accumulate: Int?
  @Flag(
    inversion: .prefixedNo,
    help: "Pad-and-crop and flip training images; on for CIFAR, ImageNet and folder, off for others.")
  var augment: Bool?
  @Option(
    help:
      "What --augment takes of pictures in files: resized (a random part of random shape) or window (a random part of the size that evaluation takes the centre of) (resized)."
  )
  var crop: String?
  @Flag(inversion: .prefixedNo, help: "Shuffle the training set each epoch.") var shuffle = true
  @Option(help: "Seed of everything random.") var seed: UInt64 = 0
  @Option(help: "Threads; results do not depend on them. By default all that the process may use.") var threads: Int?
  @Option(name: .customLong("init"), help: "Weights to start from: a safetensors file, masked dense or CSR.")
  var initialWeights: String?
  @Option(help: "Folder that gets the run's folder.") var output = "runs"
  @Option(help: "Time after which the run stops, to be resumed, e.g. 3h50m (none).") var maxTime: String?
  @Option(help: "Steps between checkpoints; by default once an epoch.") var checkpointEvery: Int?
  @Option(help: "How many of the newest checkpoints stay (\(standard.keep)).") var keep: Int?
  @Option(help: "Steps between lines of metrics.jsonl; by default some 1,000 lines a run.") var logEvery: Int?
  @Option(help: "Fraction of the training set held out for validation (\(standard.validation)).")
  var validation: Double?
}
