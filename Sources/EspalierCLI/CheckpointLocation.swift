import Espalier
import EspalierBaselines
import EspalierCore
import Foundation

/// Where a RUN|CHECKPOINT argument points.
enum CheckpointLocation {
  /// The newest checkpoint of a run's folder, whole or not, or `path` itself.
  ///
  /// - Throws: `EspalierError.input` for a run without checkpoints.
  static func resolve(_ path: String) throws -> String {
    guard let store = store(path) else { return path }
    guard let newest = store.steps.last else { throw none(in: store) }
    return store.path(step: newest)
  }

  /// The newest checkpoint of a run's folder that is whole, or `path` itself once its checksums, where it has some, have been
  /// compared. Tells of each damaged one that is passed over.
  ///
  /// - Throws: `EspalierError.input` for a run without a checkpoint that is whole, and for a damaged checkpoint.
  static func verified(_ path: String) throws -> String {
    guard let store = store(path) else {
      try CheckpointStore.verify(path)
      return path
    }
    guard !store.steps.isEmpty else { throw none(in: store) }
    var reasons: [String] = []
    guard let newest = store.newest(onDamage: { reasons.append($1) }) else {
      throw EspalierError.input("\(reasons.first ?? store.run); no other checkpoint is whole")
    }
    for reason in reasons { Terminal.note("espalier: warning: a damaged checkpoint is skipped: \(reason)") }
    return store.path(step: newest.step)
  }

  /// The checkpoints of the run that `path` is the folder of; nil where it is none.
  private static func store(_ path: String) -> CheckpointStore? {
    FileManager.default.fileExists(atPath: path + "/checkpoints") ? CheckpointStore(run: path) : nil
  }

  private static func none(in store: CheckpointStore) -> EspalierError {
    .input("\(store.run)/checkpoints: holds no checkpoint; train to the end first")
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
