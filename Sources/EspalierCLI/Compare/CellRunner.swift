import EspalierCore
import Foundation

/// Runs a comparison's cells, each in a process of its own, so that memory and time are its own.
struct CellRunner {
  /// Runs at the same time; nil: as many as processors and memory allow.
  let jobs: Int?
  let threads: Int
  /// What asks the whole comparison to stop.
  let stop: StopRequest
  let progress: ComparisonProgress

  private final class Job {
    let cell: ComparisonCell
    let process: Process
    init(cell: ComparisonCell, process: Process) { (self.cell, self.process) = (cell, process) }
  }

  /// Runs what has not ended yet; `report` hears of each outcome. A run that fails leaves the others alone.
  ///
  /// - Throws: what `report` throws; `ComparisonStopped` where it is to stop, or a run was stopped. No run is left behind.
  func run(_ cells: [ComparisonCell], report: (ComparisonCell, ComparisonCell.Outcome) throws -> Void) throws {
    var waiting = cells[...]
    var running: [Job] = []
    stop.listen()
    defer {
      progress.close()
      for job in running { job.process.terminate() }
      for job in running { job.process.waitUntilExit() }
    }
    while !waiting.isEmpty || !running.isEmpty {
      if let reason = stop.reason { throw ComparisonStopped(reason: reason) }
      let limit = limit
      while running.count < limit, let cell = waiting.popFirst() {
        do {
          running.append(try start(cell))
        } catch let error as EspalierError {
          progress.didEnd(cell, .failed(error))
          try report(cell, .failed(error))
        }
      }
      progress.showIfDue(waiting: waiting.count)
      guard let index = running.firstIndex(where: { !$0.process.isRunning }) else {
        usleep(50_000)
        continue
      }
      let job = running.remove(at: index)
      let outcome = try outcome(of: job)
      progress.didEnd(job.cell, outcome)
      try report(job.cell, outcome)
    }
  }

  /// Memory of a run is known only when one has ended, so it is that of the largest so far, which `getrusage` keeps.
  private var limit: Int {
    if let jobs { return jobs }
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
    guard usage.ru_maxrss > 0 else { return 1 }
    let fitting = ProcessMemory.availableBytes / (usage.ru_maxrss * 1024) + 1
    return max(1, min(fitting, ComputeContext.processors / threads))
  }

  private func start(_ cell: ComparisonCell) throws -> Job {
    let arguments = try cell.arguments()
    let log = cell.log
    guard FileManager.default.createFile(atPath: log, contents: nil), let sink = FileHandle(forWritingAtPath: log)
    else {
      throw EspalierError.write("\(log): cannot make the file; choose another --output")
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = sink
    do {
      try process.run()
    } catch {
      throw EspalierError.invariant("cannot start \(process.executableURL?.path ?? "the program"): \(error.reason)")
    }
    progress.didStart(cell)
    return Job(cell: cell, process: process)
  }

  /// - Throws: `ComparisonStopped` where the run was stopped.
  private func outcome(of job: Job) throws -> ComparisonCell.Outcome {
    let (cell, status) = (job.cell, job.process.terminationStatus)
    guard job.process.terminationReason == .exit else {
      if [SIGINT, SIGTERM].contains(status) { throw stopped(cell) }
      let hint = status == SIGKILL ? "; perhaps memory ran out" : ""
      return .failed(.invariant("it was killed by signal \(status)\(hint)"))
    }
    if status == 0, let outcome = cell.outcome { return outcome }
    if status == 70 {
      _ = FileManager.default.createFile(atPath: cell.folder + "/diverged", contents: nil)
      return .diverged
    }
    if status == 75 { throw stopped(cell) }
    let kind: EspalierError.Kind =
      switch status {
      case 64: .usage
      case 65: .input
      case 74: .write
      default: .invariant
      }
    return .failed(EspalierError(kind, cell.lastWords.replacing("espalier: error: ", with: "")))
  }

  /// Somebody stopped the run, unless the whole comparison was asked to stop at the same moment.
  private func stopped(_ cell: ComparisonCell) -> ComparisonStopped {
    ComparisonStopped(reason: stop.reason ?? "the run \(cell.name) was stopped")
  }
}

/// A comparison was stopped by a signal or at the end of its time, or one of its runs was; what has ended is kept.
struct ComparisonStopped: Error {
  let reason: String
}

extension ProcessMemory {
  /// What the system could give to new programs.
  static var availableBytes: Int {
    let text = (try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
    return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
  }
}
