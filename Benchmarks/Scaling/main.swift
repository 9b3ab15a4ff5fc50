import Espalier
import Foundation

/// Trains one `mlp` of two hidden layers a few steps and prints, as one line of JSON, what that took.
///
///     swift run -c release Scaling WIDTH gse|rigl|static STEPS INTERVAL [PER_UNIT]
///
/// Both hidden layers have WIDTH units and some PER_UNIT connections a unit (8 by default), whatever the width; batches of 32 made-up
/// images, one thread. Connections move every INTERVAL steps. `linear_cost.py` runs it, also under a counting emulator.
struct Outcome: Encodable {
  let width, connections, steps, updates: Int
  /// Medians; the update's is what it takes beside the pass that it is in.
  let stepMs: Double
  let updateMs: Double?
  let weightBytes, activationBytes, candidates: Int
  /// Nanoseconds to read 32 samples of one unit at a random place among WIDTH units.
  let probeNs: Double
}

final class Watcher: TrainingObserver {
  var updates: [UpdateRecord] = []
  func didUpdateTopology(_ record: UpdateRecord) { updates.append(record) }
}

/// Sums `batch` floats at random places of an array [width, batch]: what any gather over these units has to pay.
func probe(width: Int, batch: Int) -> Double {
  let random = CounterRandom(seed: 9).stream(.syntheticData, layer: 0)
  let units = [Float](repeating: 1, count: width * batch)
  let places = (0..<max(200_000, width)).map { Int(random.below(UInt64(width), at: UInt64($0))) }
  var sums = [SIMD16<Float>](repeating: .zero, count: 2)
  let started = ContinuousClock.now
  units.withUnsafeBytes { bytes in
    for place in places {
      for half in 0..<batch / 16 {
        sums[half & 1] += bytes.loadUnaligned(fromByteOffset: (place * batch + half * 16) * 4, as: SIMD16<Float>.self)
      }
    }
  }
  let elapsed = ContinuousClock.now - started
  precondition(sums[0][0] > 0)
  return elapsed / .nanoseconds(1) / Double(places.count)
}

func run(_ arguments: [String]) throws -> Outcome? {
  guard arguments.count >= 4, let width = Int(arguments[0]), let steps = Int(arguments[2]),
    let interval = Int(arguments[3])
  else { return nil }
  let perUnit = arguments.count > 4 ? Double(arguments[4]) ?? 8 : 8
  let batch = 32
  let context = try ComputeContext(threads: 1)
  let data = try ImageDataset.synthetic(trainCount: batch * 64, testCount: 1)
  let spec = try ModelCatalog.spec(
    ModelCatalog.Request(
      name: "mlp", hidden: [width, width], images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10))
  let sparsity = 1 - perUnit * Double(2 * width + 10) / Double(spec.sparsifiableWeights)
  let model = try Model(sparse: spec, sparsity: sparsity, random: CounterRandom(seed: 0), context: context)
  var options = TrainingOptions(epochs: nil, maxSteps: steps)
  options.batchSize = batch
  options.learningRate = 1e-3
  let schedule = UpdateSchedule(interval: interval, end: steps, fraction: 0.2)
  let updater: (any TopologyUpdater)? =
    switch arguments[1] {
    case "gse": try GSE(schedule: schedule)
    case "rigl": RigL(schedule: schedule)
    default: nil
    }
  let watcher = Watcher()
  let trainer = try Trainer(
    model: model, dataset: data, normalization: Normalization(mean: [0.3], deviation: [0.3]), options: options,
    updater: updater, context: context)
  let result = try trainer.run(observer: watcher)
  let seconds = watcher.updates.map(\.seconds).sorted()
  return Outcome(
    width: width, connections: model.connections, steps: steps, updates: watcher.updates.count,
    stepMs: result.stepMillisecondsMedian, updateMs: seconds.isEmpty ? nil : seconds[seconds.count / 2] * 1e3,
    weightBytes: context.meter.reading.peakWeightBytes, activationBytes: context.meter.reading.peakActivationBytes,
    candidates: watcher.updates.last?.layers.reduce(0) { $0 + $1.candidates } ?? 0,
    probeNs: ProcessInfo.processInfo.environment["SCALING_PROBE"] == "0" ? 0 : probe(width: width, batch: batch))
}

guard let outcome = try run(Array(CommandLine.arguments.dropFirst())) else {
  print("usage: Scaling WIDTH gse|rigl|static STEPS INTERVAL [PER_UNIT]")
  exit(64)
}
let encoder = JSONEncoder()
encoder.keyEncodingStrategy = .convertToSnakeCase
print(String(decoding: try encoder.encode(outcome), as: UTF8.self))
