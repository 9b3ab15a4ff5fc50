import EspalierCore
import EspalierData
import Foundation

/// The checkpoints of a run: folders `checkpoints/step-NNNNNNNN`, each whole from the moment that it has its name.
///
/// Besides the model each holds all that the rest of the run depends on: `training.safetensors`, `state.json`, and in `SHA256SUMS` the
/// digests of all of them.
public struct CheckpointStore: Sendable {
  /// The run's folder.
  public let run: String
  /// How many of the newest stay.
  public let keep: Int

  /// The checkpoints of the run in the folder `run`, of which the newest `keep` stay. Reads and writes nothing.
  public init(run: String, keep: Int = 2) {
    self.run = run
    self.keep = keep
  }

  /// What the digests are of.
  package static let fileNames = [Checkpoint.fileName, RunState.fileName, TrainingTensors.fileName]

  package var folder: String { run + "/checkpoints" }

  /// Where the checkpoint of a step lies.
  public func path(step: Int) -> String { folder + "/" + Self.name(step: step) }

  /// Relative to the run's folder.
  public static func relativePath(step: Int) -> String { "checkpoints/" + name(step: step) }

  private static func name(step: Int) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The steps that there are checkpoints of, ascending. Other names in the folder are none of ours.
  public var steps: [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.compactMap { name in
      guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), Self.name(step: step) == name else {
        return nil
      }
      return step
    }.sorted()
  }
}

// MARK: Saving

extension CheckpointStore {
  /// Writes a checkpoint under a temporary name, gives it its own, and deletes those that are no longer kept.
  ///
  /// Finite weights may still make outputs that are not. So one more stays than are kept, until an evaluation or the next step has shown
  /// that the newest is good.
  ///
  /// - Parameters:
  ///   - trainer: between steps, as in `TrainingObserver.mayCheckpoint(step:endsEpoch:)`.
  ///   - information: what the model's file says of itself.
  ///   - configuration: the run's settings, to be found again in `RunState`.
  ///   - data: the data set's fingerprint.
  ///   - best: the step of one that stays whatever its age.
  /// - Throws: `EspalierError.write`; all checkpoints that were there are then still there. `EspalierError.diverged` for a model that
  ///   is not finite.
  public func save(
    _ trainer: Trainer, _ information: Checkpoint.Information, configuration: String, data: String, best: Int?
  ) throws {
    let step = trainer.progress.step
    guard (try? Checksums.verify(Self.fileNames, in: path(step: step))) == nil else {
      // Saved before: the same step of a run is always the same.
      return prune(after: trainer, best: best)
    }
    try trainer.checkFinite()
    let state = RunState(
      configuration: configuration, data: data, instructionSet: trainer.context.instructionSet.name,
      progress: trainer.snapshot)
    let files = FileManager.default
    let unfinished = run + "/" + Self.unfinishedPrefix + UUID().uuidString
    defer { try? files.removeItem(atPath: unfinished) }
    do {
      try Checkpoint.save(trainer.model, information, to: unfinished, temporary: run)
      try TrainingTensors.write(trainer, in: unfinished)
      try state.write(in: unfinished)
      try Checksums.write(of: Self.fileNames, in: unfinished)
      try FolderSync.synchronize(unfinished)
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try makeRoom(step: step)
      try files.moveItem(atPath: unfinished, toPath: path(step: step))
      try FolderSync.synchronize(folder)
    } catch let error as EspalierError {
      throw error
    } catch {
      throw EspalierError.write("\(path(step: step)): could not write the checkpoint: \(FolderSync.reason(error))")
    }
    prune(after: trainer, best: best)
  }

  private func prune(after trainer: Trainer, best: Int?) {
    let step = trainer.progress.step
    prune(upTo: trainer.soundStep == step ? step : step - 1, best: best)
  }

  private static let unfinishedPrefix = ".unfinished-"

  /// Deletes all up to a good one but the newest `keep` of them and the best one. What cannot be deleted stays: it does no harm.
  ///
  /// Later ones, of which at most one is the run's and the others are damaged, count for nothing.
  package func prune(upTo good: Int, best: Int?) {
    for step in steps.filter({ $0 <= good }).dropLast(keep) where step != best { try? remove(step: step) }
  }

  /// Deletes the checkpoint of a run that has just diverged if it is that of the weights whose outputs were not finite.
  ///
  /// - Returns: the step of the newest that stays; nil where there is none.
  package func dropBroken(after trainer: Trainer) -> Int? {
    let step = trainer.progress.step
    if trainer.soundStep != step { try? remove(step: step) }
    return steps.last
  }

  /// Deletes a checkpoint, unless it holds a file that is not ours. Takes its name away first, so that no half of it is ever seen.
  private func remove(step: Int) throws {
    guard try holdsOnlyOurs(path(step: step)) else { return }
    let doomed = run + "/" + Self.unfinishedPrefix + UUID().uuidString
    try FileManager.default.moveItem(atPath: path(step: step), toPath: doomed)
    try FileManager.default.removeItem(atPath: doomed)
  }

  /// Deletes a damaged checkpoint; sets one with files that are not ours aside.
  private func makeRoom(step: Int) throws {
    let files = FileManager.default
    guard files.fileExists(atPath: path(step: step)) else { return }
    try remove(step: step)
    guard files.fileExists(atPath: path(step: step)) else { return }
    try files.moveItem(
      atPath: path(step: step), toPath: "\(run)/damaged-\(Self.name(step: step))-\(UUID().uuidString.prefix(6))")
  }

  private func holdsOnlyOurs(_ path: String) throws -> Bool {
    // A process that is killed while it writes a file leaves that under another name; Foundation's begin with .dat.nosync.
    let names = try FileManager.default.contentsOfDirectory(atPath: path).filter {
      !$0.hasPrefix(OutputFile.temporaryPrefix) && !$0.hasPrefix(".dat.nosync")
    }
    return Set(names).isSubset(of: Self.fileNames + [Checksums.fileName])
  }

  /// Deletes what a killed process left half done.
  public func removeUnfinished() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: run)) ?? []
    for name in names where name.hasPrefix(Self.unfinishedPrefix) {
      let path = run + "/" + name
      if (try? holdsOnlyOurs(path)) == true { try? FileManager.default.removeItem(atPath: path) }
    }
  }
}

// MARK: Loading

extension CheckpointStore {
  /// The newest checkpoint that is whole; nil where there is none.
  ///
  /// - Parameter onDamage: is told of each newer one that is not, and why.
  public func newest(onDamage: (_ path: String, _ reason: String) -> Void) -> (step: Int, state: RunState)? {
    for step in steps.reversed() {
      do {
        try Checksums.verify(Self.fileNames, in: path(step: step))
        let state = try RunState(folder: path(step: step))
        guard state.progress.step == step else {
          throw EspalierError.input("\(path(step: step)): holds step \(state.progress.step)")
        }
        return (step, state)
      } catch {
        onDamage(path(step: step), (error as? EspalierError)?.message ?? error.localizedDescription)
      }
    }
    return nil
  }

  /// Compares the files of a checkpoint's folder with its checksums. What is no folder, and a folder without checksums and without the
  /// state of a run, as weights from elsewhere have it, has none to compare.
  ///
  /// - Throws: `EspalierError.input` where a file is missing or not as it was written.
  public static func verify(_ folder: String) throws {
    let files = FileManager.default
    let isRuns = [Checksums.fileName, RunState.fileName].contains { files.fileExists(atPath: folder + "/" + $0) }
    if isRuns { try Checksums.verify(fileNames, in: folder) }
  }

  /// Puts a run where its checkpoint left it: optimizer state, explored connections, sums and position. The model's weights, which
  /// `Checkpoint` reads, must be in place.
  ///
  /// - Throws: `EspalierError.input` where the checkpoint does not fit the trainer.
  public func restore(_ trainer: Trainer, step: Int, state: RunState) throws {
    let (progress, timetable) = (state.progress, trainer.timetable)
    guard progress.step <= timetable.steps, progress.history.count <= timetable.epochs else {
      throw EspalierError.input(
        "\(path(step: step)): is at step \(progress.step), the run has \(timetable.steps); is config.yaml the run's own?"
      )
    }
    let layers = trainer.model.sparseParameters.count
    let fits = progress.topology.map { $0.grown.count == layers && $0.pruned.count == layers } ?? true
    guard fits, progress.step >= min(progress.history.count * timetable.stepsPerEpoch, timetable.steps) else {
      throw EspalierError.input(
        "\(path(step: step)): its epochs or layers contradict its step or its model; was it written by another program?"
      )
    }
    trainer.restore(progress)
    try TrainingTensors.read(into: trainer, from: path(step: step))
  }
}

/// Makes names durable.
package enum FolderSync {
  /// Returns when the names in a folder are on disk.
  package static func synchronize(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw EspalierError.write("\(path): cannot be opened: \(lastReason)") }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw EspalierError.write("\(path): cannot be synchronized: \(lastReason)") }
  }

  static var lastReason: String { String(cString: strerror(errno)) }

  /// The system's words for what went wrong.
  static func reason(_ error: any Error) -> String {
    let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? any Error
    let error = (underlying ?? error) as NSError
    return error.domain == NSPOSIXErrorDomain
      ? String(cString: strerror(Int32(error.code))) : error.localizedDescription
  }
}
