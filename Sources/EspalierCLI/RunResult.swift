import Espalier
import EspalierCore
import Foundation

/// `result.json`: what a run came to.
struct RunResult: Codable {
  let model, dataset, method, guide: String
  let synthetic: Bool
  let sparsity: Double
  let seed: UInt64
  let threads, epochs, steps, batchSize: Int
  let testAccuracy, testLoss: Double
  /// From 100 classes up.
  let testTop5Accuracy: Double?
  /// With a validation set: of the last epoch, and the checkpoint of the epoch with the highest one.
  let validationAccuracy, validationLoss: Double?
  let best: Best?
  let history: [EpochRecord]
  let trainSeconds, stepMsMedian, imagesPerSecond: Double
  let updateMsMedian: OrNull<Double>
  /// Of writing checkpoints, in the process that ended the run; nil in results of before there was this field.
  let checkpointSeconds: Double?
  /// The state of the weights is that at the end.
  let peakRssBytes, largestWeightBufferBytes, weightStateBytes: Int
  /// After any step; absent in results of earlier versions.
  let peakWeightStateBytes: Int?
  let peakWeightBytes, peakActivationBytes: Int
  let nnz, sparsifiableWeights, denseParameters, parameters: Int
  let layers: [Layer]
  let trainFlopsPerSample, denseTrainFlopsPerSample: Double
  /// Of methods that choose connections before training, which the other times and operations leave out.
  let startSeconds, startFlops: Double?
  let explorationRate: OrNull<Double>
  let updates: Int
  /// Absent in results of earlier versions.
  let phases: [PhaseRecord]?
  /// What ranks that trained together sent each other; absent where there was one.
  let parallel: RankRecord?
  let instructionSet: String
  let weightsSHA256: String
  let run: String

  struct Layer: Codable {
    let name: String
    let inputs, outputs, nnz: Int
  }

  /// The best epoch by validation.
  struct Best: Codable {
    let epoch: Int
    /// Relative to the run's folder.
    let checkpoint: String
    let validationAccuracy, testAccuracy: Double
  }

  /// Is `null` where there is no value, so that the field is there all the same.
  struct OrNull<Value: Codable>: Codable {
    let value: Value?

    init(value: Value?) { self.value = value }

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      value = container.decodeNil() ? nil : try container.decode(Value.self)
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      if let value { try container.encode(value) } else { try container.encodeNil() }
    }
  }

  enum CodingKeys: String, CodingKey {
    case model, dataset, method, guide, synthetic, sparsity, seed, threads, epochs, steps, batchSize
    case testAccuracy, testLoss, testTop5Accuracy, validationAccuracy, validationLoss, best, history
    case trainSeconds, stepMsMedian, updateMsMedian, imagesPerSecond, checkpointSeconds
    case peakRssBytes, largestWeightBufferBytes, weightStateBytes, peakWeightStateBytes
    case peakWeightBytes, peakActivationBytes
    case nnz, sparsifiableWeights, denseParameters, parameters, layers
    case trainFlopsPerSample, denseTrainFlopsPerSample, startSeconds, startFlops, explorationRate, updates, phases,
      parallel, instructionSet
    case weightsSHA256 = "weights_sha256"
    case run
  }

  init(
    _ configuration: RunConfiguration, model: Model, result: TrainingResult, start: StartCost?, best: Best?,
    context: ComputeContext, folder: RunFolder
  ) {
    self.model = configuration.model
    dataset = configuration.dataset
    synthetic = configuration.dataset == "synthetic"
    method = configuration.method.rawValue
    guide = configuration.guide.rawValue
    seed = configuration.seed
    threads = configuration.threads
    epochs = result.epochs
    steps = result.steps
    batchSize = configuration.batchSize
    testAccuracy = result.testAccuracy
    testLoss = result.testLoss
    testTop5Accuracy = result.testTop5Accuracy
    validationAccuracy = result.history.last?.validationAccuracy
    validationLoss = result.history.last?.validationLoss
    self.best = best
    history = result.history
    trainSeconds = result.trainSeconds
    stepMsMedian = result.stepMillisecondsMedian
    updateMsMedian = OrNull(value: result.updateMillisecondsMedian)
    imagesPerSecond = result.imagesPerSecond
    checkpointSeconds = folder.checkpointSeconds
    peakRssBytes = ProcessMemory.peakResidentBytes
    let reading = context.meter.reading
    largestWeightBufferBytes = reading.largestWeightBuffer
    peakWeightBytes = reading.peakWeightBytes
    peakActivationBytes = reading.peakActivationBytes
    weightStateBytes = model.weightStateBytes
    peakWeightStateBytes = result.peakWeightStateBytes
    let spec = model.spec
    sparsifiableWeights = spec.sparsifiableWeights
    denseParameters = spec.denseParameters
    parameters = spec.parameters
    let counts = model.connectionCounts
    nnz = counts.reduce(0, +)
    sparsity = configuration.method == .dense ? 0 : configuration.sparsity
    layers = zip(spec.weightLayers, counts).map {
      Layer(name: $0.shape.name, inputs: $0.shape.columns, outputs: $0.shape.rows, nnz: $1)
    }
    trainFlopsPerSample = result.trainFlopsPerSample
    denseTrainFlopsPerSample = Double(3 * spec.denseForwardFlops)
    startSeconds = start?.seconds
    startFlops = start?.flops
    explorationRate = OrNull(value: result.explorationRate)
    updates = result.updates
    phases = result.phases
    parallel = result.ranks
    instructionSet = context.instructionSet.name
    weightsSHA256 = model.weightsSHA256
    run = folder.path
  }

  /// E.g. "data 2 %, forward 41 %".
  private var timeByPhase: String {
    let total = max(1e-9, (phases ?? []).reduce(0) { $0 + $1.seconds })
    let shares = (phases ?? []).map { String(format: "%@ %.0f %%", $0.title, 100 * $0.seconds / total) }
    return shares.isEmpty ? "not counted by phase" : shares.joined(separator: ", ")
  }

  /// Where it is not that at the end.
  private var peakState: Int? { peakWeightStateBytes.flatMap { $0 > weightStateBytes ? $0 : nil } }

  /// For people.
  func summary(folder: String) -> String {
    func number(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
    let mebibyte = 1_048_576.0
    return """
      test accuracy   \(number(testAccuracy, 4)) (loss \(number(testLoss, 4))\(testTop5Accuracy.map { ", top-5 \(number($0, 4))" } ?? ""))\(synthetic ? ", on synthetic data" : "")
      training        \(number(trainSeconds, 1)) s, \(number(stepMsMedian, 1)) ms a step (median), \(number(imagesPerSecond, 0)) images/s
      memory          \(number(Double(peakRssBytes) / mebibyte, 0)) MiB resident at most, \(number(Double(weightStateBytes) / mebibyte, 2)) MiB weight state\(peakState.map { ", \(number(Double($0) / mebibyte, 2)) MiB at most" } ?? "")
      \(parallel.map { "ranks           \($0.ranks), each sent \($0.gradientBytesPerStep) bytes of gradients a step\n" } ?? "")connections     \(nnz) of \(sparsifiableWeights), \(updates) topology updates
      time            \(timeByPhase)
      operations      \(number(trainFlopsPerSample / denseTrainFlopsPerSample, 4)) of dense training's
      weights sha256  \(weightsSHA256)\(best.map { "\nbest epoch      \($0.epoch), validation accuracy \(number($0.validationAccuracy, 4)), \($0.checkpoint)" } ?? "")
      run             \(folder)
      """
  }
}

/// What the system says of this process's memory.
enum ProcessMemory {
  /// The high-water mark of its resident set.
  static var peakResidentBytes: Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1024
  }

  /// Its resident set now.
  static var residentBytes: Int {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else { return 0 }
    let fields = text.split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
  }
}
