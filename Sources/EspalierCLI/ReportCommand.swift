import ArgumentParser
import Espalier
import EspalierCore
import Foundation

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Writes one HTML file with plots of one or several runs.")

  @Argument(help: "Runs' folders.") var runs: [String]
  @Option(help: "The file; by default RUN/report.html of a single run, else report.html.") var output: String?
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let report: String
    let runs: [String]
  }

  func run() throws {
    let report = Report(runs: try runs.map { try RunRecord(folder: $0) })
    let path = output ?? (runs.count == 1 ? runs[0] + "/report.html" : "report.html")
    try Self.write(report.html, to: path, flag: "output")
    if json { try Terminal.json(Result(report: path, runs: runs)) } else { try Terminal.result(path) }
  }

  /// Writes the page of a run that has its result, into its folder. A page that cannot be made makes no run fail.
  static func writeIfPossible(ofRun folder: String) {
    do {
      try write(Report(runs: [RunRecord(folder: folder)]).html, to: folder + "/report.html")
    } catch {
      Terminal.note("espalier: warning: no report: \((error as? EspalierError)?.message ?? error.reason)")
    }
  }

  /// Writes a page in place of what is there, at once.
  ///
  /// - Parameter flag: that names another path.
  /// - Throws: `EspalierError.write`.
  static func write(_ page: String, to path: String, flag: String? = nil) throws {
    do {
      try Data(page.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw EspalierError.write(
        "\(path): cannot write: \(error.reason)\(flag.map { "; choose another --\($0)" } ?? "")")
    }
  }
}
