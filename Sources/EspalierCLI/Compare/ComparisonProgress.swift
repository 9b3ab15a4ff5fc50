import Foundation

/// Says on standard error how far a comparison is: which runs are going, their steps, and how long all of it may take.
///
/// A run's own lines of progress go into its log; the last of them is what is told here.
final class ComparisonProgress {
  private let total: Int
  private var ended: Int
  private var running: [(cell: ComparisonCell, started: ContinuousClock.Instant)] = []
  /// Of runs that finished in this process.
  private var durations: [Double] = []
  private let line = ProgressLine()

  /// - Parameters:
  ///   - total: number of runs.
  ///   - ended: of them that ended before.
  init(total: Int, ended: Int) { (self.total, self.ended) = (total, ended) }

  func didStart(_ cell: ComparisonCell) { running.append((cell, .now)) }

  /// Tells of a run that ended, whether or not it had begun.
  func didEnd(_ cell: ComparisonCell, _ outcome: ComparisonCell.Outcome) {
    if let index = running.firstIndex(where: { $0.cell.folder == cell.folder }) {
      let started = running.remove(at: index).started
      if case .finished = outcome { durations.append((ContinuousClock.now - started).seconds) }
    }
    ended += 1
    close()
    Terminal.note("[\(ended)/\(total)] \(cell.name): \(outcome.words)")
  }

  /// - Parameter waiting: number of runs that have not begun.
  func showIfDue(waiting: Int) {
    guard line.isDue, !running.isEmpty else { return }
    line.show(text(waiting: waiting))
  }

  /// Clears the way for other lines.
  func close() { line.close() }

  private func text(waiting: Int) -> String {
    let shown = 4
    let positions = running.map { $0.cell.position }
    var parts = zip(running, positions).prefix(shown).map { run, position in
      "\(run.cell.name): \(position.map { "step \($0.step)/\($0.steps)" } ?? "starting")"
    }
    if running.count > shown { parts.append("\(running.count - shown) more") }
    if let seconds = secondsLeft(positions, waiting: waiting) {
      parts.append("some \(ProgressReporter.clock(seconds)) left")
    }
    return "[\(ended)/\(total)] " + parts.joined(separator: "; ")
  }

  /// Runs that have not begun are taken to last as long as the others on average; nil while nothing is known of any.
  private func secondsLeft(_ positions: [RunPosition?], waiting: Int) -> Double? {
    let elapsed = running.map { (ContinuousClock.now - $0.started).seconds }
    let known =
      durations
      + zip(elapsed, positions).compactMap { elapsed, position in
        position.map { elapsed + $0.secondsLeft }
      }
    guard !known.isEmpty else { return nil }
    let typical = known.reduce(0, +) / Double(known.count)
    let left = zip(elapsed, positions).map { elapsed, position in position?.secondsLeft ?? max(0, typical - elapsed) }
    let work = left.reduce(0, +) + Double(waiting) * typical
    return max(left.max() ?? 0, work / Double(running.count))
  }
}

extension ComparisonCell {
  /// Where its run is, by the last line of progress at the end of its log; nil before the first.
  fileprivate var position: RunPosition? {
    guard let handle = FileHandle(forReadingAtPath: log) else { return nil }
    defer { try? handle.close() }
    guard let end = try? handle.seekToEnd(), (try? handle.seek(toOffset: end - min(end, 4096))) != nil,
      let data = try? handle.readToEnd()
    else { return nil }
    return String(decoding: data, as: UTF8.self).split(separator: "\n").reversed().lazy
      .compactMap { RunPosition(line: $0) }.first
  }
}

extension ComparisonCell.Outcome {
  fileprivate var words: String {
    switch self {
    case .finished(let cell): "test accuracy \(String(format: "%.4f in %.1f s", cell.testAccuracy, cell.trainSeconds))"
    case .diverged: "diverged"
    case .failed(let error): "failed: \(error.message)"
    }
  }
}
