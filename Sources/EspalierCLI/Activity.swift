import Foundation

/// Says on standard error what the program is at while nothing else does.
enum Activity {
  /// Runs `body`; where that takes longer, a line tells of it from time to time: redrawn on a terminal, elsewhere a plain one every few
  /// seconds.
  static func during<R>(_ what: String, _ body: () throws -> R) rethrows -> R {
    let isTerminal = Terminal.errorIsTerminal
    let started = ContinuousClock.now
    let queue = DispatchQueue(label: "activity")
    let timer = DispatchSource.makeTimerSource(queue: queue)
    let interval = DispatchTimeInterval.seconds(isTerminal ? 1 : 5)
    timer.schedule(deadline: .now() + interval, repeating: interval)
    timer.setEventHandler {
      let line = "\(what): \((ContinuousClock.now - started).components.seconds) s"
      if isTerminal { Terminal.redraw(line) } else { Terminal.note(line) }
    }
    timer.resume()
    defer {
      timer.cancel()
      // What is being said is finished first.
      queue.sync {}
      if isTerminal { Terminal.redraw("") }
    }
    return try body()
  }
}

/// A line of progress: on a terminal one that is redrawn, elsewhere a plain one every few seconds.
final class ProgressLine {
  /// Time between lines elsewhere than on a terminal.
  private static let interval = Duration.seconds(5)
  private let isTerminal = Terminal.errorIsTerminal
  private var lastShown: ContinuousClock.Instant?
  private var isOpen = false

  /// - Parameter isDue: whether the first line comes at once.
  init(isDue: Bool = false) { lastShown = isDue ? nil : .now }

  /// Whether the last one was long enough ago.
  var isDue: Bool {
    guard let lastShown else { return true }
    return ContinuousClock.now - lastShown >= (isTerminal ? .milliseconds(200) : Self.interval)
  }

  /// Shows a line where one is due.
  func showIfDue(_ line: @autoclosure () -> String) {
    if isDue { show(line()) }
  }

  func show(_ line: String) {
    lastShown = .now
    if isTerminal {
      Terminal.redraw(line)
      isOpen = true
    } else {
      Terminal.note(line)
    }
  }

  /// Clears the way for another line.
  func close() {
    if isOpen { Terminal.redraw("") }
    isOpen = false
  }
}
