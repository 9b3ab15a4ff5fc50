import Espalier
import EspalierCore
import Foundation

/// Shows on this machine that a stop changes nothing: some steps in one go, and the same steps with a checkpoint, new objects and
/// another number of threads in between, must give the same weights. The run itself is left as it is.
struct ResumeVerification {
  let settings: RunConfiguration
  let path: String
  let store: CheckpointStore

  /// At most, before and after the stop.
  private static let steps = 10

  struct Verdict: Encodable {
    let run: String
    let equal: Bool
    let firstStep, stopAfterStep, lastStep: Int
    let uninterrupted, resumed: String

    /// For people.
    var text: String {
      """
      \(equal ? "equal" : "DIFFERENT"): steps \(firstStep) to \(lastStep) in one go and with a stop after step \(stopAfterStep)
      uninterrupted   \(uninterrupted)
      resumed         \(resumed)
      """
    }
  }

  /// - Parameter newest: where the steps begin; at the run's start where too few are left.
  func callAsFunction(from newest: (step: Int, state: RunState)?) throws -> Verdict {
    let whole = try session(from: newest, threads: settings.threads)
    let (begin, end) = (whole.trainer.progress.step, whole.trainer.timetable.steps)
    guard end - begin >= 2 else {
      guard newest != nil else {
        throw EspalierError.usage("verify: the run has only \(end) step; nothing can be shown")
      }
      return try self(from: nil)
    }
    let half = min(Self.steps, (end - begin) / 2)
    _ = try whole.trainer.run(observer: Limit(step: begin + 2 * half))

    let temporary = FileManager.default.temporaryDirectory.appendingPathComponent(
      "espalier-verify-\(UUID().uuidString)")
    do {
      try FileManager.default.createDirectory(at: temporary, withIntermediateDirectories: true)
    } catch {
      throw EspalierError.write("\(temporary.path): cannot be made: \(error.reason)")
    }
    defer { try? FileManager.default.removeItem(at: temporary) }
    let between = CheckpointStore(run: temporary.path)
    let before = try session(from: newest, threads: settings.threads)
    _ = try before.trainer.run(observer: Limit(step: begin + half))
    try before.save(to: between, configuration: "")
    guard let saved = between.newest(onDamage: { _, reason in Terminal.note("espalier: warning: \(reason)") }) else {
      throw EspalierError.invariant("verify: the checkpoint that was just written cannot be read")
    }
    let after = try session(from: saved, in: between, threads: settings.threads == 1 ? 2 : 1)
    _ = try after.trainer.run(observer: Limit(step: begin + 2 * half))
    let (a, b) = (whole.model.weightsSHA256, after.model.weightsSHA256)
    return Verdict(
      run: path, equal: a == b, firstStep: begin + 1, stopAfterStep: begin + half, lastStep: begin + 2 * half,
      uninterrupted: a, resumed: b)
  }

  private func session(
    from saved: (step: Int, state: RunState)?, in place: CheckpointStore? = nil, threads: Int
  ) throws -> TrainingSession {
    var settings = settings
    settings.threads = threads
    return try ResumeCommand.session(settings, from: saved, in: place ?? store, path: path)
  }

  /// Ends a run after a step, and says how far it is.
  private final class Limit: TrainingObserver {
    private let step: Int
    private var taken = 0
    private let line = ProgressLine()

    init(step: Int) { self.step = step }

    var wantsStop: Bool { taken >= step }

    func didStep(_ record: StepRecord, isLogged: Bool) {
      taken = record.step
      line.showIfDue("verifying, step \(taken), to step \(step)")
      if wantsStop { line.close() }
    }
  }
}
