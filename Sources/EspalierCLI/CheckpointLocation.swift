import Espalier
import EspalierBaselines
import EspalierCore
import Foundation

/// Where a RUN|CHECKPOINT argument points.
enum CheckpointLocation {
  /// The newest checkpoint of a run's folder, or `path` itself.
  ///
  /// - Throws: `EspalierError.input` for a run without checkpoints.
  static func resolve(_ path: String) throws -> String {
    let folder = path + "/checkpoints"
    guard FileManager.default.fileExists(atPath: folder) else { return path }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    guard let newest = names.filter({ $0.hasPrefix("step-") }).max() else {
      throw EspalierError.input("\(folder): holds no checkpoint; train to the end first")
    }
    return folder + "/" + newest
  }
}

extension Checkpoint {
  /// The stored model, with sparse layers or, where a method that is dense by nature trained it, dense ones.
  func loadModel(context: ComputeContext) throws -> Model {
    guard !isSparse else { return try sparseModel(context: context) }
    let factory = DenseLayerFactory(random: CounterRandom(seed: information.seed), context: context)
    return try model(factory: factory, context: context)
  }
}
