import Espalier
import EspalierCore
import Foundation

/// A run that has its folder.
struct BegunRun {
  let folder: RunFolder
  /// What asks it to stop, which is listened to before there is a folder.
  let stop: StopRequest
  /// Whether the result, or what stopped the run, is printed as JSON.
  let printsJSON: Bool

  /// Reports that the run was asked to stop; what is to be thrown then.
  func interruption(at step: Int, log: (String) -> Void) throws -> InterruptedRun {
    let reason = stop.reason ?? "another rank received a signal"
    log("stopped at step \(step): \(reason)")
    if printsJSON { try Terminal.json(StoppedResult(stopped: reason, run: folder.path, steps: step)) }
    return InterruptedRun(reason: reason, step: step, folder: folder.path)
  }

  /// Reports an error that ends the run; what is to be thrown then.
  ///
  /// - Parameter checkpoint: of a run that diverged, the step of the newest checkpoint that is good.
  func failure(
    _ error: EspalierError, at step: Int, checkpoint: Int? = nil, log: (String) -> Void
  ) throws -> StoppedRun {
    log("stopped: \(error.message)")
    guard error.kind == .diverged else { return StoppedRun(error: error) }
    let path = checkpoint.map { CheckpointStore(run: folder.path).path(step: $0) }
    if printsJSON {
      try Terminal.json(StoppedResult(stopped: error.message, run: folder.path, steps: step, checkpoint: path))
    }
    let place = path.map { "the newest good checkpoint is \($0)" } ?? "no checkpoint of \(folder.path) is good"
    return StoppedRun(error: .diverged("\(error.message); \(place)"))
  }
}

/// What `--json` prints of what did not come to its end.
struct StoppedResult: Encodable {
  let stopped: String
  var run: String?
  var steps: Int?
  /// Of a run that diverged: the newest that is good; of other verbs the one that they were given.
  var checkpoint: String?

  /// Runs `body`; where its numbers are not finite, `isPrinted` says whether that is printed as JSON.
  static func whereDiverged<R>(
    isPrinted: Bool, run: String? = nil, checkpoint: String? = nil, _ body: () throws -> R
  ) throws -> R {
    do {
      return try body()
    } catch let error as EspalierError where error.kind == .diverged && isPrinted {
      try Terminal.json(StoppedResult(stopped: error.message, run: run, checkpoint: checkpoint))
      throw error
    }
  }
}

/// Shows how far the choice of a network's connections is, and ends it where its run is asked to stop.
final class ScoringWatch {
  /// nil before the choice begins, when all that can be refused has been, and where it is for a look alone.
  private(set) var run: BegunRun?
  private let begin: () throws -> BegunRun?
  private let line = ProgressLine(isDue: true)

  /// - Parameter begin: begins the run; nil where there is none.
  init(begin: @escaping () throws -> BegunRun?) { self.begin = begin }

  /// Shows a line where one is due; with the first one the run begins.
  ///
  /// - Throws: `InterruptedRun` where the run is to stop.
  func report(_ text: String) throws {
    if run == nil { run = try begin() }
    try checkStop()
    guard line.isDue else { return }
    line.show(text)
    try? run?.folder.appendLog(text)
  }

  /// Clears the way for other lines.
  ///
  /// - Throws: `InterruptedRun` where the run is to stop.
  func finish() throws {
    line.close()
    try checkStop()
  }

  /// What is to be thrown for an error of the choice.
  func failure(_ error: EspalierError) throws -> any Error {
    line.close()
    guard let run else { return error }
    return try run.failure(error, at: 0, log: log)
  }

  private func checkStop() throws {
    guard let run, run.stop.reason != nil else { return }
    var interruption = try run.interruption(at: 0, log: log)
    interruption.isShared = false
    throw interruption
  }

  private func log(_ text: String) {
    line.close()
    Terminal.note(text)
    try? run?.folder.appendLog(text)
  }
}
