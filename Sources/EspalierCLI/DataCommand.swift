import ArgumentParser
import Espalier
import EspalierCore
import EspalierData
import Foundation

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Shows where data sets are looked for, whether they are whole, and how to get them.")

  @Argument(help: "A data set; all of them where none is named.") var name: String?
  @Option(help: "The folder to look in, in place of the usual ones.") var dataDir: String?
  @Flag(help: "Print the result as one JSON object.") var json = false

  struct Report: Encodable {
    struct File: Encodable {
      let name: String
      let path, problem, sha256: String?
      let bytes, images: Int?
    }
    let name: String
    let whole: Bool
    /// Of the set as found; as published, or 0, where it is not there.
    let classes, trainImages, testImages: Int
    let folders: [String]
    let files: [File]
    let checks, hint: String
  }

  func run() throws {
    let names = try name.map { [try DatasetCatalog.published($0).name] } ?? DatasetCatalog.names
    let reports = try names.map { name in
      try Activity.during("checking data set \(name)") { try Self.report(name, directory: dataDir) }
    }
    if json {
      try Terminal.json(["datasets": reports])
    } else {
      for report in reports { try Self.show(report) }
    }
    if let name, let report = reports.first, !report.whole {
      let problem = report.files.compactMap(\.problem).first ?? "is not whole"
      throw EspalierError.input("data set \(name): \(problem)")
    }
  }

  static func report(_ name: String, directory: String?) throws -> Report {
    let report = try DatasetCatalog.inspect(name: name, directory: directory)
    let files = try report.files.map { file in
      Report.File(
        name: file.name, path: file.path, problem: file.problem,
        sha256: file.bytes == nil ? nil : try file.path.flatMap(checksum), bytes: file.bytes, images: file.images)
    }
    let found = report.description
    return Report(
      name: name, whole: report.isWhole, classes: found.classes, trainImages: found.trainCount,
      testImages: found.testCount, folders: report.folders, files: files, checks: found.checks, hint: report.hint)
  }

  /// A file's SHA-256, read in pieces; nil where it cannot be read.
  private static func checksum(of path: String) throws -> String? {
    guard let handle = FileHandle(forReadingAtPath: path) else { return nil }
    var hash = SHA256Stream()
    while let piece = try? handle.read(upToCount: 1 << 20), !piece.isEmpty {
      piece.withUnsafeBytes { hash.update($0) }
    }
    return hash.finish()
  }

  private static func show(_ report: Report) throws {
    try Terminal.result("\(report.name): \(report.whole ? "whole" : "not whole")")
    if report.classes > 0 {
      try Terminal.result(
        "  \(report.classes) classes, \(report.trainImages) training images, \(report.testImages) test images")
    }
    for folder in report.folders { try Terminal.result("  looked in \(folder)") }
    for file in report.files {
      let facts = [
        file.path == nil ? "absent" : nil, file.bytes.map { "\($0) bytes" }, file.images.map { "\($0) images" },
        file.sha256.map { "sha256 \($0)" },
      ]
      try Terminal.result("  \(file.path ?? file.name): \(facts.compactMap { $0 }.joined(separator: ", "))")
      if let problem = file.problem { try Terminal.result("    \(problem)") }
    }
    try Terminal.result("  checked: \(report.checks)")
    if !report.whole { try Terminal.result("  to get it: \(report.hint)") }
  }
}
