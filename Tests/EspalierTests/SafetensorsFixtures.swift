import Espalier
import EspalierCore
import Foundation
import Testing

/// A folder for one test's files, removed with the last reference.
final class SafetensorsFolder {
  let path: String

  init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("espalier-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: false)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String = "model.safetensors") -> String { "\(path)/\(name)" }

  /// Puts `bytes` into a file, and gives its path.
  func store(_ bytes: [UInt8]) throws -> String {
    unlink(file())  // some file systems are slow to overwrite
    try Data(bytes).write(to: URL(fileURLWithPath: file()))
    return file()
  }
}

/// A file by hand: the header's length, the header as it is, the data.
func safetensorsBytes(header: [UInt8], data: [UInt8] = []) -> [UInt8] {
  (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) } + header + data
}

/// Bytes of a tensor that differ from their neighbours.
func patternBytes(_ count: Int, seed: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ seed &* 101 &+ $0 >> 8) }
}

extension SafetensorsWriter.Entry {
  /// An entry whose bytes go to the sink in one piece.
  init(_ name: String, _ type: SafetensorsType, _ shape: [Int], bytes: [UInt8]) {
    self.init(name: name, type: type, shape: shape) { sink in try bytes.withUnsafeBytes { try sink($0) } }
  }
}

extension SafetensorsFile {
  /// The tensor's bytes; the buffer is filled with something else before.
  func bytes(of name: String) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xa5, count: try #require(entry(named: name)).byteRange.count)
    try bytes.withUnsafeMutableBytes { try read(name, into: $0) }
    return bytes
  }
}

/// Expects an error of `kind` whose single line names `path` and contains `fragment`.
func expectError(
  _ kind: EspalierError.Kind, naming path: String = "", saying fragment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation, from body: () throws -> Void
) {
  do {
    try body()
    Issue.record("expected an error saying '\(fragment)'", sourceLocation: sourceLocation)
  } catch let error as EspalierError {
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    #expect(error.message.hasPrefix(path), "\(error)", sourceLocation: sourceLocation)
    #expect(fragment.isEmpty || error.message.contains(fragment), "\(error)", sourceLocation: sourceLocation)
    #expect(!error.message.contains { $0.isNewline }, "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record(error, sourceLocation: sourceLocation)
  }
}
