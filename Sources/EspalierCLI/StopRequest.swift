import Espalier
import EspalierCore
import Foundation

/// Why and when a run is to stop before its end: a signal, or the end of its time.
///
/// The first SIGINT, SIGTERM or SIGUSR1 asks; the second one kills. Asked while its data are still being read, a run begins all the same,
/// and stops before its next step with a checkpoint, so that it can be resumed.
final class StopRequest: @unchecked Sendable {
  // Unchecked, because `signalled` is only touched under `lock`.

  private let lock = NSLock()
  private var signalled: String?
  private let deadline: ContinuousClock.Instant?
  private let timeLimit: String
  private var sources: [any DispatchSourceSignal] = []

  /// - Parameter maxTime: a span of time from now on.
  /// - Throws: `EspalierError.usage` for a text that is none.
  convenience init(parsing maxTime: String?) throws { self.init(maxTime: try maxTime.map { try TimeLimit($0) }) }

  /// - Parameter maxTime: from now on.
  init(maxTime: TimeLimit?) {
    deadline = maxTime.map { ContinuousClock.now + .seconds($0.seconds) }
    timeLimit = maxTime?.text ?? ""
  }

  /// nil: go on.
  var reason: String? {
    if let signalled = lock.withLock({ signalled }) { return signalled }
    if let deadline, ContinuousClock.now >= deadline { return "max-time \(timeLimit) is over" }
    return nil
  }

  /// Listens to the signals from now on.
  func listen() {
    let queue = DispatchQueue(label: "signals")
    sources = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGUSR1, "SIGUSR1")].map { number, name in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler { [self] in
        let isSecond = lock.withLock {
          defer { signalled = signalled ?? "received \(name)" }
          return signalled != nil
        }
        if isSecond { _exit(128 + number) }
      }
      source.resume()
      return source
    }
  }
}

/// A span of time as the command line takes it: 3h50m, 90s, 2d12h.
struct TimeLimit: Sendable, Hashable {
  let text: String
  let seconds: Int

  /// - Throws: `EspalierError.usage` for anything but whole numbers with the units d, h, m, s in this order.
  init(_ text: String) throws {
    let match = text.wholeMatch(of: #/(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?/#)
    let parts = match.map { [($0.1, 86_400), ($0.2, 3600), ($0.3, 60), ($0.4, 1)] } ?? []
    seconds = parts.reduce(0) { $0 + ($1.0.flatMap { Int($0) } ?? 0) * $1.1 }
    self.text = text
    guard match != nil, seconds > 0 else {
      throw EspalierError.usage("max-time: '\(text)' is no span of time; expected one such as 3h50m, 45m or 90s")
    }
  }
}
