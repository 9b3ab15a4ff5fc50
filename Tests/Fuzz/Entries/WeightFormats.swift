import EspalierCore

@testable import Espalier

private let perceptron = ModelCatalog.Request(
  name: "mlp", hidden: [4], images: FeatureSize(channels: 1, height: 2, width: 3), classes: 3)

/// The container, what `inspect` says of it, and as weights of a model and as a checkpoint.
func fuzzSafetensors(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  attempt {
    let file = try SafetensorsFile(path: path)
    for name in file.names {
      let count = file.entry(named: name)?.byteRange.count ?? 0
      var tensor = [UInt8](repeating: 0, count: count)
      try tensor.withUnsafeMutableBytes { try file.read(name, into: $0) }
    }
  }
  attempt { _ = try WeightsSummary(path: path) }
  let context = try ComputeContext(threads: 1)
  attempt {
    let spec = try ModelCatalog.spec(perceptron)
    let weights = try WeightsFile(path: path)
    _ = try weights.connections(of: spec)
    _ = weights.outputs(ofLayer: "layers.2")
    _ = try Model(spec, weights: weights, context: context)
  }
  attempt {
    let checkpoint = try Checkpoint(path: path)
    if checkpoint.isSparse { _ = try checkpoint.sparseModel(context: context) }
  }
}
