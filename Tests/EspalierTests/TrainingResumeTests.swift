import EspalierCore
import EspalierData
import EspalierTopology
import Foundation
import TestSupport
import Testing

import Espalier

/// Stops after a step.
private final class StoppingObserver: TrainingObserver {
  let lastStep: Int
  private var step = 0

  init(after lastStep: Int) { self.lastStep = lastStep }

  var wantsStop: Bool { step >= lastStep }

  func didStep(_ record: StepRecord, isLogged: Bool) { step = record.step }
}

/// A run of `mlp` that is saved and goes on in other objects.
private struct SavedRun {
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

@Suite struct TrainingResumeTests {
  static let changes: [@Sendable (inout TrainingSetup) -> Void] = [
    { _ in },
    {
      $0.options.optimizer = .adamw; $0.options.learningRate = 1e-3; $0.options.schedule = .cosine
    },
    {
      $0.mode = .add; $0.scope = .global; $0.options.augments = true; $0.options.clipNorm = 1
    },
    {
      $0.options.accumulate = 2; $0.options.batchSize = 32; $0.options.validation = 0.1; $0.method = .set
    },
    {
      $0.method = .static; $0.options.shuffles = false
    },
    {
      $0.options.extraBatches = 2; $0.options.audit = 3; $0.options.powerprop = 2; $0.options.deepHoyer = 1e-3
    },
  ]

  /// Steps 28 (with validation) and 31 end an epoch, step 11 is an update.
  @Test(arguments: 0..<6, [1, 11, 28, 31, 69, 70])
  func aResumedRunEndsAsIfItHadNeverStopped(_ change: Int, stop: Int) throws {
    let saved = try SavedRun(Self.changes[change])
    let whole = try saved.setup.train()
    var setup = saved.setup
    setup.threads = 1
    let first = try setup.make()
    let stopped = try first.trainer.run(observer: StoppingObserver(after: stop))
    #expect(!stopped.isFinished && stopped.steps == stop)
    try saved.save(first)
    let second = try #require(try saved.load(threads: 3))
    #expect(second.trainer.progress == first.trainer.snapshot)
    let result = try second.trainer.run()
    #expect(result.isFinished && result.steps == 70)
    #expect(second.model.weightsSHA256 == whole.run.model.weightsSHA256)
    #expect(result.history == whole.result.history)
    #expect(result.updates == whole.result.updates)
    #expect(result.explorationRate == whole.result.explorationRate)
    #expect(result.trainFlopsPerSample == whole.result.trainFlopsPerSample)
    #expect(result.trainSeconds >= stopped.trainSeconds)
    for (a, b) in zip(second.model.parameters, whole.run.model.parameters) {
      #expect(a.optimizerState.map(\.array) == b.optimizerState.map(\.array))
    }
    try second.context.meter.check()
  }

  /// Updates are in steps 6, 11, 16 and 21; DeepR's records in 5, 10, 15 and 20.
  @Test(arguments: MethodTrainingTests.Method.allCases, [6, 8, 16, 21])
  func everyMethodGoesOnAsIfItHadNeverStopped(_ method: MethodTrainingTests.Method, stop: Int) throws {
    let saved = try SavedRun {
      $0.options.maxSteps = 24
      if method == .granet { $0.sparsity = 0.5 }
    }
    let whole = try saved.make(method)
    let result = try whole.trainer.run()
    let first = try saved.make(method, threads: 1)
    _ = try first.trainer.run(observer: StoppingObserver(after: stop))
    try saved.save(first)
    let second = try saved.load(method, threads: 3)
    #expect(second.trainer.progress == first.trainer.snapshot)
    let resumed = try second.trainer.run()
    #expect(resumed.isFinished && resumed.history == result.history)
    #expect(second.model.weightsSHA256 == whole.model.weightsSHA256)
    #expect(resumed.explorationRate == result.explorationRate)
    // A layer that GraNet makes this sparse has no room for all that it explored.
    #expect((result.explorationRate == nil) == (method == .granet))
    let topology = try #require(whole.trainer.snapshot.topology)
    #expect(second.trainer.snapshot.topology == topology)
    for (a, b) in zip(second.model.sparseParameters, whole.model.sparseParameters) {
      #expect(a.topologyState.map(\.array) == b.topologyState.map(\.array))
      #expect(a.topologyState.isEmpty == (method != .deepr))
      #expect(a.optimizerState.map(\.array) == b.optimizerState.map(\.array))
    }
    if method == .topkast, stop < 20 {
      let tensors = try SafetensorsFile(path: saved.store.path(step: stop) + "/training.safetensors")
      for parameter in first.model.sparseParameters {
        #expect(tensors.entry(named: "remembered.\(parameter.layerName).values") != nil)
      }
    }
    if method == .granet { #expect(second.model.connections == saved.finalConnections) }
    try second.context.meter.check()
  }

  @Test func aFinishedRunHasNothingLeftToDo() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let result = try run.trainer.run()
    try saved.save(run)
    let again = try #require(try saved.load())
    let recorder = TrainingRecorder()
    let same = try again.trainer.run(observer: recorder)
    #expect(recorder.steps.isEmpty && recorder.epochs.isEmpty)
    #expect(same.isFinished && same.history == result.history)
    #expect(same.stepMillisecondsMedian == result.stepMillisecondsMedian)
  }

  // MARK: What is kept

  @Test func theNewestAndTheBestStay() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    for stop in [3, 6, 9, 12] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run, best: 3)
    }
    #expect(saved.store.steps == [3, 9, 12])
    let names = try FileManager.default.contentsOfDirectory(atPath: saved.folder.path)
    #expect(names == ["checkpoints"])
  }

  @Test func foldersWithUnknownFilesAreLeftAlone() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let files = FileManager.default
    _ = try run.trainer.run(observer: StoppingObserver(after: 3))
    try saved.save(run)
    let note = saved.store.path(step: 3) + "/note.txt"
    #expect(files.createFile(atPath: note, contents: Data("mine".utf8)))
    let others = [
      saved.store.folder + "/step-1", saved.store.folder + "/notes", saved.folder.path + "/.unfinished-mine",
    ]
    for path in others {
      try files.createDirectory(atPath: path, withIntermediateDirectories: false)
      #expect(files.createFile(atPath: path + "/mine", contents: Data()))
    }
    for stop in [6, 9, 12] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run)
    }
    saved.store.removeUnfinished()
    #expect(saved.store.steps == [3, 9, 12])
    #expect(files.fileExists(atPath: note))
    #expect(others.allSatisfy { files.fileExists(atPath: $0 + "/mine") })
  }

  @Test func whatAKilledProcessLeftIsCleared() throws {
    let saved = try SavedRun()
    let path = saved.folder.path + "/.unfinished-1234"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    #expect(FileManager.default.createFile(atPath: path + "/model.safetensors", contents: Data()))
    saved.store.removeUnfinished()
    #expect(try FileManager.default.contentsOfDirectory(atPath: saved.folder.path).isEmpty)
    #expect(saved.store.newest { _, _ in } == nil)
  }

  @Test func brokenWeightsAreNotSaved() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    _ = try run.trainer.run(observer: StoppingObserver(after: 3))
    try saved.save(run)
    _ = try run.trainer.run(observer: StoppingObserver(after: 4))
    run.model.sparseParameters[1].withMutableValues { $0[0] = .nan }
    expectError(.diverged, saying: run.model.sparseParameters[1].name) { try saved.save(run) }
    #expect(saved.store.steps == [3])
  }

  @Test func aPlaceThatTakesNoFilesIsAWriteError() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    expectError(.write, saying: "/proc/espalier") {
      try CheckpointStore(run: "/proc/espalier").save(
        run.trainer, saved.information, configuration: "", data: "", best: nil)
    }
  }

  // MARK: Damage

  /// Each file truncated at every 512th byte and with every 512th byte flipped in one bit: the checkpoint before it is used.
  @Test func damagedCheckpointsAreSkipped() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    for stop in [5, 10] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run)
    }
    let folder = saved.store.path(step: 10)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(Set(names) == ["model.safetensors", "training.safetensors", "state.json", "SHA256SUMS"])
    for name in names {
      let url = URL(fileURLWithPath: folder + "/" + name)
      let whole = try Data(contentsOf: url)
      for position in stride(from: 0, to: whole.count, by: 512) {
        var flipped = whole
        flipped[position] ^= UInt8(1 << (position / 512 % 8))
        for damaged in [Data(whole.prefix(position)), flipped] {
          try damaged.write(to: url)
          var complaints = 0
          let found = saved.store.newest { path, reason in
            complaints += 1
            #expect(path == folder && reason.contains(folder))
          }
          #expect(found?.step == 5 && complaints == 1, "\(name) at \(position)")
        }
      }
      try FileManager.default.removeItem(at: url)
      #expect(saved.store.newest { _, _ in }?.step == 5, "\(name) is absent")
      try whole.write(to: url)
    }
    #expect(saved.store.newest { _, _ in Issue.record("nothing is damaged") }?.step == 10)
    #expect(try saved.load()?.trainer.progress.step == 10)
  }

  /// A damaged checkpoint that is newer than the run is written over in time, and costs no other its place.
  @Test func damagedOnesAreReplaced() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    for stop in [5, 10] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run)
    }
    try Data("no".utf8).write(to: URL(fileURLWithPath: saved.store.path(step: 10) + "/state.json"))
    let note = saved.store.path(step: 10) + "/note.txt"
    #expect(FileManager.default.createFile(atPath: note, contents: Data()))
    let again = try #require(try saved.load())
    #expect(again.trainer.progress.step == 5)
    for stop in [7, 8, 10] {
      _ = try again.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(again)
      #expect(try saved.load()?.trainer.progress.step == stop)
    }
    #expect(saved.store.steps == [8, 10])
    let aside = try FileManager.default.contentsOfDirectory(atPath: saved.folder.path).filter { $0 != "checkpoints" }
    #expect(aside.count == 1 && aside[0].hasPrefix("damaged-step-00000010-"), "\(aside)")
    #expect(FileManager.default.fileExists(atPath: saved.folder.path + "/\(aside[0])/note.txt"))
    #expect(again.model.weightsSHA256 == run.model.weightsSHA256)
  }

  @Test func otherFormatsAndOtherRunsAreRefused() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    _ = try run.trainer.run(observer: StoppingObserver(after: 35))
    try saved.save(run)
    let (step, state) = try #require(saved.store.newest { _, _ in })
    var short = saved.setup
    short.options.maxSteps = 20
    expectError(.input, saying: "step 35") { try saved.store.restore(short.make().trainer, step: step, state: state) }
    var adam = saved.setup
    adam.options.optimizer = .adamw
    expectError(.input, saying: "exp_avg") { try saved.store.restore(adam.make().trainer, step: step, state: state) }

    let folder = saved.store.path(step: 35)
    let text = try String(contentsOfFile: folder + "/state.json", encoding: .utf8)
    try text.replacing("\"format\" : 1", with: "\"format\" : 2").write(
      toFile: folder + "/state.json", atomically: true, encoding: .utf8)
    try Checksums.write(of: CheckpointStore.fileNames, in: folder)
    var reasons: [String] = []
    #expect(saved.store.newest { reasons.append($1) } == nil)
    #expect(reasons.count == 1 && reasons[0].contains("format 2"))
  }

  @Test func fingerprintsSeeEveryByte() throws {
    func dataset(_ change: (inout [UInt8], inout [UInt32]) -> Void = { _, _ in }) throws -> ImageDataset {
      var (pixels, labels) = ([UInt8](repeating: 7, count: 4 * 6), [0, 1, 2, 0] as [UInt32])
      change(&pixels, &labels)
      let split = ImageSplit(
        images: try PixelBuffer(count: pixels.count) { _ = $0.update(fromContentsOf: pixels) }, labels: labels)
      return ImageDataset(
        name: "tiny", isSynthetic: true, classes: 3, channels: 1, height: 2, width: 3, train: split, test: split)
    }
    let prints = try [
      dataset(), dataset { pixels, _ in pixels[23] = 8 }, dataset { _, labels in labels[3] = 2 },
    ].map(\.fingerprint)
    #expect(Set(prints).count == 3)
    #expect(try dataset().fingerprint == prints[0])
  }
}
