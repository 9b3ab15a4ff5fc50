import EspalierCore
import Foundation

/// Standard output carries the result, standard error the log and the progress. Of several ranks the first one alone has either; others
/// say no more than why they end.
enum Terminal {
  /// Prints a line of the result.
  ///
  /// - Throws: `EspalierError.write` where standard output takes no more.
  static func result(_ line: String) throws {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
    } catch {
      throw EspalierError.write("standard output: cannot write the result: \(error.reason)")
    }
  }

  /// Prints a line of the log. A log that cannot be written stops nothing.
  static func note(_ line: String) { progress(line + "\n") }

  /// Prints to standard error as it is.
  static func progress(_ text: String) {
    if Launch.current.rank == 0 { write(text) }
  }

  static func error(_ message: String) {
    let rank = Launch.current.rank
    write("espalier: error: \(rank > 0 ? "rank \(rank): " : "")\(message)\n")
  }

  private static func write(_ text: String) { try? FileHandle.standardError.write(contentsOf: Data(text.utf8)) }

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) != 0 }

  /// Replaces what stands in the terminal's line, by as much of `text` as fits into one.
  static func redraw(_ text: String) {
    var size = winsize()
    let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1
    progress("\r\u{1B}[K" + text.prefix((isKnown ? Int(size.ws_col) : 80) - 1))
  }

  /// Prints `value` as one JSON object.
  static func json(_ value: some Encodable) throws {
    try result(String(decoding: try JSONOutput.encode(value), as: UTF8.self))
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

  /// Reads what `encode` wrote.
  static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .custom { path in
      let words = (path.last?.stringValue ?? "").split(separator: "_")
      guard words != ["weights", "sha256"] else { return Key(stringValue: "weights_sha256") }
      return Key(stringValue: (words.prefix(1).map(String.init) + words.dropFirst().map(\.capitalized)).joined())
    }
    return try decoder.decode(type, from: data)
  }

  private struct Key: CodingKey {
    let stringValue: String
    let intValue: Int? = nil

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
  }
}
