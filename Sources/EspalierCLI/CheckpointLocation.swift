import Espalier
import EspalierBaselines
import EspalierCore
import Foundation

/// Where a RUN|CHECKPOINT argument points.
enum CheckpointLocation {
  /// The newest checkpoint of a run's folder that is whole, or `path` itself once its checksums, where it has some, have been
  /// compared.
  ///
  /// - Throws: as `resolve`; `EspalierError.input` for a damaged checkpoint.
  static func verified(_ path: String) throws -> String {
    let place = try resolve(path)
    if place == path { try CheckpointStore.verify(path) }
    return place
  }

  /// The newest checkpoint of a run's folder that is whole, or `path` itself. Tells of each damaged one that is passed over.
  ///
  /// - Throws: `EspalierError.input` for a run without a checkpoint that is whole.
  static func resolve(_ path: String) throws -> String {
    guard let store = store(path) else { return path }
    guard !store.steps.isEmpty else {
      throw EspalierError.input("\(path): has no checkpoint yet; go on with the run: espalier resume \(path)")
    }
    var reasons: [String] = []
    guard let newest = store.newest(onDamage: { reasons.append($1) }) else {
      throw EspalierError.input("\(reasons.first ?? store.run); no other checkpoint is whole")
    }
    for reason in reasons { Terminal.note("espalier: warning: a damaged checkpoint is skipped: \(reason)") }
    return store.path(step: newest.step)
  }

  /// The checkpoints of the run that `path` is the folder of; nil where it is none.
  private static func store(_ path: String) -> CheckpointStore? {
    let isRuns = ["checkpoints", "config.yaml"].contains {
      FileManager.default.fileExists(atPath: path + "/" + $0)
    }
    return isRuns ? CheckpointStore(run: path) : nil
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
