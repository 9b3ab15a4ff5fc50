import Espalier
import EspalierCore
import Foundation
import Testing

/// What is kept of a run, and what becomes of damaged checkpoints.
@Suite struct CheckpointStoreTests {
  @Test func theNewestAndTheBestStay() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    for stop in [3, 6, 9, 12] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run, best: 3)
    }
    #expect(saved.store.steps == [3, 6, 9, 12], "whether the newest is good is not known yet")
    saved.store.prune(upTo: 12, best: 3)
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
    saved.store.prune(upTo: 12, best: nil)
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

  /// Weights that are finite, with outputs that are not: the step after them tells, and they are all that goes.
  @Test func brokenOutputsCostNoGoodCheckpoint() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let store = CheckpointStore(run: saved.folder.path, keep: 1)
    func save() throws {
      try store.save(run.trainer, saved.information, configuration: "", data: "", best: nil)
    }
    _ = try run.trainer.run(observer: StoppingObserver(after: 3))
    try save()
    _ = try run.trainer.run(observer: StoppingObserver(after: 5))
    for parameter in run.model.sparseParameters {
      parameter.withMutableValues { for i in $0.indices { $0[i] = 1e30 } }
    }
    try save()
    #expect(store.steps == [3, 5])
    expectError(.diverged, naming: "diverged at step 6:") { _ = try run.trainer.run() }
    #expect(store.dropBroken(after: run.trainer) == 3)
    #expect(store.steps == [3])
  }

  /// An evaluation shows that the newest is good, and so does the next step.
  @Test func whatHasBeenUsedIsGood() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let store = CheckpointStore(run: saved.folder.path, keep: 1)
    func save() throws {
      try store.save(run.trainer, saved.information, configuration: "", data: "", best: nil)
    }
    for stop in [3, 5] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try save()
    }
    #expect(run.trainer.soundStep == 4 && store.steps == [3, 5])
    _ = try run.trainer.run()
    try save()
    #expect(run.trainer.soundStep == 70 && store.steps == [70])
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

  /// Each file truncated at every 512th byte, with every 512th byte flipped in one bit and with every 4,096th in all: the checkpoint
  /// before it is used, and the weights are that one's.
  @Test func damagedCheckpointsAreSkipped() throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    var hashes: [String] = []
    for stop in [5, 10] {
      _ = try run.trainer.run(observer: StoppingObserver(after: stop))
      try saved.save(run)
      hashes.append(run.model.weightsSHA256)
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
        var inverted = whole
        inverted[position] ^= 0xff
        for damaged in [Data(whole.prefix(position)), flipped] + (position % 4096 == 0 ? [inverted] : []) {
          try damaged.write(to: url)
          var complaints = 0
          let found = saved.store.newest { path, reason in
            complaints += 1
            #expect(path == folder && reason.contains(folder))
          }
          #expect(found?.step == 5 && complaints == 1, "\(name) at \(position)")
          expectError(.input, naming: folder) { try CheckpointStore.verify(folder) }
          guard position % 16_384 == 0 else { continue }
          #expect(try saved.load()?.model.weightsSHA256 == hashes[0])
        }
      }
      try FileManager.default.removeItem(at: url)
      #expect(saved.store.newest { _, _ in }?.step == 5, "\(name) is absent")
      try whole.write(to: url)
    }
    #expect(saved.store.newest { _, _ in Issue.record("nothing is damaged") }?.step == 10)
    #expect(try saved.load()?.trainer.progress.step == 10)
    #expect(try saved.load()?.model.weightsSHA256 == hashes[1])
    try CheckpointStore.verify(folder)
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
    #expect(saved.store.steps == [7, 8, 10])
    let aside = try FileManager.default.contentsOfDirectory(atPath: saved.folder.path).filter { $0 != "checkpoints" }
    #expect(aside.count == 1 && aside[0].hasPrefix("damaged-step-00000010-"), "\(aside)")
    #expect(FileManager.default.fileExists(atPath: saved.folder.path + "/\(aside[0])/note.txt"))
    #expect(again.model.weightsSHA256 == run.model.weightsSHA256)
  }

  /// With checksums that agree, so that nothing else stands between such a state and the trainer.
  @Test(arguments: [("\"epoch\" : 1,", "\"epoch\" : 1,", true), ("\"grown\" : [", "\"grown\" : [ 7,", false)])
  func statesThatContradictThemselvesAreRefused(old: String, new: String, dropsStep: Bool) throws {
    let saved = try SavedRun()
    let run = try saved.setup.make()
    let stop = dropsStep ? 35 : 12
    _ = try run.trainer.run(observer: StoppingObserver(after: stop))
    try saved.save(run)
    var folder = saved.store.path(step: stop)
    var text = try String(contentsOfFile: folder + "/state.json", encoding: .utf8)
    try #require(text.contains(old))
    text.replace(old, with: new)
    if dropsStep {
      text.replace("\"step\" : 35", with: "\"step\" : 3")
      try FileManager.default.moveItem(atPath: folder, toPath: saved.store.path(step: 3))
      folder = saved.store.path(step: 3)
    }
    try text.write(toFile: folder + "/state.json", atomically: true, encoding: .utf8)
    try Checksums.write(of: CheckpointStore.fileNames, in: folder)
    expectError(.input, naming: folder, saying: "contradict") { _ = try saved.load() }
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
    expectError(.input, naming: saved.store.path(step: 35), saying: #"another optimizer, AdamW has ["exp_avg""#) {
      try saved.store.restore(adam.make().trainer, step: step, state: state)
    }

    let folder = saved.store.path(step: 35)
    let text = try String(contentsOfFile: folder + "/state.json", encoding: .utf8)
    try text.replacing("\"format\" : 1", with: "\"format\" : 2").write(
      toFile: folder + "/state.json", atomically: true, encoding: .utf8)
    try Checksums.write(of: CheckpointStore.fileNames, in: folder)
    var reasons: [String] = []
    #expect(saved.store.newest { reasons.append($1) } == nil)
    #expect(reasons.count == 1 && reasons[0].contains("format 2"))
  }
}
