import Espalier
import EspalierCore
import EspalierTopology
import Testing

/// Stops after a step.
final class StoppingObserver: TrainingObserver {
  let lastStep: Int
  private var step = 0

  init(after lastStep: Int) { self.lastStep = lastStep }

  var wantsStop: Bool { step >= lastStep }

  func didStep(_ record: StepRecord, isLogged: Bool) { step = record.step }
}

/// A run of `mlp` that is saved and goes on in other objects.
struct SavedRun {
  let setup: TrainingSetup
  let folder: SafetensorsFolder
  let information: Checkpoint.Information
  var store: CheckpointStore { CheckpointStore(run: folder.path) }

  init(_ change: (inout TrainingSetup) -> Void = { _ in }) throws {
    var setup = try TrainingSetup.perceptron(steps: 70, hidden: [32, 16])
    setup.interval = 10
    change(&setup)
    self.setup = setup
    folder = try SafetensorsFolder()
    information = Checkpoint.Information(
      model: ModelCatalog.Request(
        name: "mlp", hidden: [32, 16], images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10),
      dataset: "synthetic", method: "gse", seed: 0, step: 0, batchSize: 64)
  }

  func save(_ run: TrainingRun, best: Int? = nil) throws {
    try store.save(run.trainer, information, configuration: "as it was", data: "some", best: best)
  }

  /// New objects in the state that the newest whole checkpoint has.
  func load(threads: Int = 2, onDamage: (String, String) -> Void = { _, _ in }) throws -> TrainingRun? {
    guard let (step, state) = store.newest(onDamage: onDamage) else { return nil }
    #expect(state.configuration == "as it was" && state.data == "some")
    var setup = setup
    setup.threads = threads
    let context = try ComputeContext(threads: threads, gamma: max(1, setup.gamma))
    let run = try setup.make(model: Checkpoint(path: store.path(step: step)).sparseModel(context: context), context)
    try store.restore(run.trainer, step: step, state: state)
    return run
  }
}

extension SavedRun {
  /// Of GraNet.
  var finalConnections: Int { Int((0.02 * Double(setup.spec.sparsifiableWeights)).rounded()) }

  /// A run of any method, from its start unless a model is given.
  func make(
    _ method: MethodTrainingTests.Method, threads: Int = 2, model: (ComputeContext) throws -> Model? = { _ in nil }
  ) throws -> TrainingRun {
    let context = try ComputeContext(threads: threads)
    let model = try model(context) ?? method.model(setup, context)
    let updater: any TopologyUpdater =
      if method == .granet {
        try GraNet(
          schedule: UpdateSchedule(interval: 5, end: 22, fraction: 0.3), startConnections: model.connections,
          finalConnections: finalConnections)
      } else {
        try method.updater(for: model)
      }
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      updater: updater, context: context)
    return TrainingRun(context: context, model: model, trainer: trainer)
  }

  /// New objects in the state that the newest checkpoint has.
  func load(_ method: MethodTrainingTests.Method, threads: Int) throws -> TrainingRun {
    let (step, state) = try #require(store.newest { _, reason in Issue.record("\(reason)") })
    let run = try make(method, threads: threads) {
      try Checkpoint(path: store.path(step: step)).sparseModel(context: $0)
    }
    try store.restore(run.trainer, step: step, state: state)
    return run
  }
}
