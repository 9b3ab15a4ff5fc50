import Foundation
import TestSupport
import Testing

/// The command's tests: one after the other, because each run uses several threads.
@Suite(.serialized) struct CommandLineTests {}

/// Where the package dataset-fashion-mnist puts its files.
let fashionMNIST = "/usr/share/datasets/fashion-mnist"

/// A training run with --json.
struct TrainedRun {
  let program: RunProgram
  let result: [String: Any]
  let folder: String

  /// - Parameter output: where the run's folder goes.
  init(_ arguments: [String], environment: [String: String?] = [:], output: String) throws {
    program = try .espalier(["train", "--json", "--output", output] + arguments, environment: environment)
    try #require(program.status == 0, "\(program.error)")
    result = try program.json()
    folder = try #require(result["run"] as? String)
  }

  var hash: String? { result["weights_sha256"] as? String }

  func file(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)) }

  /// The objects of a file that has one a line.
  func lines(_ name: String) throws -> [[String: Any]] {
    let text = String(decoding: try file(name), as: UTF8.self)
    try #require(text.isEmpty || text.hasSuffix("\n"))
    return try text.split(separator: "\n").map { try RunProgram.object(Data($0.utf8)) }
  }
}

/// Expects that the program ends with `status` and writes exactly one line, on standard error, that contains `fragments`.
func expectOneLine(
  _ program: RunProgram, status: Int32, saying fragments: String..., sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(program.status == status, "\(program.error)", sourceLocation: sourceLocation)
  #expect(program.errorLines.count == 1, "\(program.error)", sourceLocation: sourceLocation)
  #expect(program.error.hasPrefix("espalier: error: "), "\(program.error)", sourceLocation: sourceLocation)
  #expect(program.output.isEmpty, "\(program.text)", sourceLocation: sourceLocation)
  for fragment in fragments {
    #expect(program.error.contains(fragment), "\(program.error)", sourceLocation: sourceLocation)
  }
}
