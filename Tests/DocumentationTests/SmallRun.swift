import Espalier
import Foundation

/// What the articles take from "Getting started", smaller: data, model and options of a run of a second.
struct SmallRun {
  let dataset: ImageDataset
  let normalization = Normalization(mean: [0.5], deviation: [0.2])
  let request = ModelCatalog.Request(
    name: "mlp", hidden: [64, 32], images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10)
  let spec: ModelSpec
  var options = TrainingOptions(epochs: nil, maxSteps: 60)
  let context: ComputeContext

  init() throws {
    dataset = try .synthetic(trainCount: 1000, testCount: 200)
    spec = try ModelCatalog.spec(request)
    context = try ComputeContext(threads: 2)
    options.batchSize = 50
    options.learningRate = 0.05
  }

  /// Connections at a sparsity of 0.9.
  var budget: Int { Int((0.1 * Double(spec.sparsifiableWeights)).rounded()) }
}

/// A folder that goes with its owner.
final class TemporaryFolder {
  let path = FileManager.default.temporaryDirectory.appending(path: "espalier-docs-\(UUID().uuidString)").path

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
