import ArgumentParser
import Espalier
import EspalierBench
import Foundation

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures the kernels on this machine beside OpenBLAS.",
    discussion: "Each kernel's result is checked before it is timed. Times are medians; a wrong result is an error.")

  @Option(
    help:
      "Kernels to measure, e.g. forward,conv-forward: \(BenchKernel.allCases.map(\.rawValue).joined(separator: ", ")).")
  var kernel: String?
  @Option(help: "Numbers of threads, e.g. 1,2.") var threads = "1"
  @Flag(help: "Some cases of every kernel, a few repetitions: under 30 seconds.") var quick = false
  @Flag(help: "Print the result as one JSON object.") var json = false
  @Option(help: ArgumentHelp("Seconds a case.", visibility: .hidden)) var budget: Double?

  private struct Result: Encodable {
    let cpu, isa: String
    let sgemmGflops: Double
    let rows, backward: [BenchReport.Row]
    let crossovers: [BenchReport.Crossover]
    let wide: [BenchReport.WideRow]
  }

  func run() throws {
    let kernels = try kernel.map(BenchKernel.list)
    let threads = try ValueList.parse(threads, flag: "threads", Int.init)
    for count in threads { _ = try ComputeContext(threads: count) }
    if let budget, !(budget >= 0 && budget <= 60) {
      throw EspalierError.usage("budget: \(budget) is out of range; expected 0 to 60 seconds")
    }
    let runner = try BenchRunner(
      kernels: kernels, quick: quick, threads: threads,
      budget: budget.map { $0 == 0 ? .single : MeasurementBudget(seconds: $0, repetitions: 3...1000) })
    let progress = ProgressLine(isDue: true)
    let report = try runner.run { done, total, name in progress.showIfDue("bench \(done)/\(total): \(name)") }
    progress.close()
    let environment = RunEnvironment(try ComputeContext(threads: threads[0]))
    if json {
      try Terminal.json(
        Result(
          cpu: environment.processor, isa: environment.instructionSet, sgemmGflops: report.sgemmGflops,
          rows: report.rows, backward: report.backward, crossovers: report.crossovers, wide: report.wide))
    } else {
      try Terminal.result("\(environment.processor), \(environment.instructionSet), \(environment.openblas)")
      for line in BenchTable.lines(report) { try Terminal.result(line) }
    }
  }
}

/// A benchmark for people to read.
enum BenchTable {
  static func lines(_ report: BenchReport) -> [String] {
    var lines: [String] = []
    for (threads, speed) in report.sgemmGflopsByThreads.sorted(by: { $0.key < $1.key }) {
      lines.append(String(format: "sgemm 2048 x 2048 x 128, threads %d: %.1f GFLOP/s", threads, speed))
    }
    for kernel in BenchKernel.allCases {
      let rows = (report.rows + report.backward).filter { $0.kernel == kernel }
      guard !rows.isEmpty else { continue }
      lines += ["", heading(kernel)] + rows.map(line)
    }
    if !report.crossovers.isEmpty {
      lines += ["", "crossover with dense, forward and backward"] + report.crossovers.map(crossover)
    }
    if !report.wide.isEmpty {
      lines += ["", "very wide layers, forward, 8 connections a unit, batch 32"]
      lines += report.wide.map {
        cell("\($0.units) units", 16) + cell("threads \($0.threads)", 11)
          + String(format: "%8.2f ns a connection%10.3f ms", $0.nanosecondsPerConnection, $0.ms)
      }
    }
    return lines
  }

  private static func heading(_ kernel: BenchKernel) -> String {
    cell(kernel.rawValue, 30) + " sparsity threads  GFLOP/s /sgemm      ms   +-%  dense ms   +-%  speed-up"
  }

  private static func line(_ row: BenchReport.Row) -> String {
    cell(row.name, 30)
      + String(
        format: "%9.4f%8d%9.1f%7.2f%8.3f%6.1f%10.3f%6.1f%9.1fx", row.sparsity, row.threads, row.gflops, row.sgemmRatio,
        row.ms, 100 * row.spread, row.denseMs, 100 * row.denseSpread, row.speedup)
  }

  private static func crossover(_ found: BenchReport.Crossover) -> String {
    let words =
      switch found.place {
      case .between: String(format: "at %.1f %% sparsity", 100 * found.sparsity)
      case .below: String(format: "below %.0f %% sparsity, the lowest measured", 100 * found.sparsity)
      case .above: String(format: "above %.0f %% sparsity, the highest measured", 100 * found.sparsity)
      }
    return cell("\(found.units) units", 16) + cell("threads \(found.threads)", 11) + words
  }

  private static func cell(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
