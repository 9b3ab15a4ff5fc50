import Foundation

/// Standard output carries the result, standard error the log and the progress.
enum Terminal {
  /// Prints a line of the result.
  static func result(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }

  static func note(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }

  static func error(_ message: String) { note("espalier: error: \(message)") }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) != 0 }

  /// Prints `value` as one JSON object.
  static func json(_ value: some Encodable) throws {
    result(String(decoding: try JSONOutput.encode(value), as: UTF8.self))
  }
}

/// JSON as the contract wants it: snake case, sorted keys.
enum JSONOutput {
  static func encode(_ value: some Encodable, pretty: Bool = true) throws -> Data {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    return try encoder.encode(value)
  }
}
