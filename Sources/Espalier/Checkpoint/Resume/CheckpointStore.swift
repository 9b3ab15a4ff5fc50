import EspalierCore
import Foundation

/// The checkpoints of a run: folders `checkpoints/step-NNNNNNNN`, each whole from the moment that it has its name.
public struct CheckpointStore: Sendable {
  /// The run's folder.
  public let run: String
  /// How many of the newest stay.
  public let keep: Int

  public init(run: String, keep: Int = 2) {
    self.run = run
    self.keep = keep
  }

  var folder: String { run + "/checkpoints" }

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

  /// Writes a checkpoint under a temporary name, gives it its own, and deletes those that are no longer kept.
  ///
  /// - Parameters:
  ///   - best: the step of one that stays whatever its age.
  ///   - write: makes the folder that it is given, and everything in it.
  /// - Throws: `EspalierError.write`; all checkpoints that were there are then still there.
  public func save(step: Int, best: Int?, write: (_ folder: String) throws -> Void) throws {
    let files = FileManager.default
    let unfinished = run + "/.unfinished-" + UUID().uuidString
    defer { try? files.removeItem(atPath: unfinished) }
    do {
      try write(unfinished)
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try FolderSync.synchronize(unfinished)
      try moveAside(step: step)
      try files.moveItem(atPath: unfinished, toPath: path(step: step))
      try FolderSync.synchronize(folder)
    } catch let error as EspalierError {
      throw error
    } catch {
      throw EspalierError.write("\(path(step: step)): could not write the checkpoint: \(FolderSync.reason(error))")
    }
    prune(best: best)
  }

  /// Makes place for a checkpoint of the same step.
  private func moveAside(step: Int) throws {
    guard FileManager.default.fileExists(atPath: path(step: step)) else { return }
    try remove(step: step)
  }

  /// Deletes all but the newest ones and the best one. What cannot be deleted stays: it does no harm.
  private func prune(best: Int?) {
    for step in steps.dropLast(keep) where step != best { try? remove(step: step) }
  }

  /// Files that a checkpoint consists of.
  static let fileNames = ["model.safetensors"]

  /// Deletes a checkpoint, unless it holds a file that is not ours. Takes its name away first, so that no half of it is ever seen.
  private func remove(step: Int) throws {
    let files = FileManager.default
    guard Set(try files.contentsOfDirectory(atPath: path(step: step))).isSubset(of: Self.fileNames) else { return }
    let doomed = run + "/.unfinished-" + UUID().uuidString
    try files.moveItem(atPath: path(step: step), toPath: doomed)
    try files.removeItem(atPath: doomed)
  }
}

/// Makes names durable.
enum FolderSync {
  /// Returns when the names in a folder are on disk.
  static func synchronize(_ path: String) throws {
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
