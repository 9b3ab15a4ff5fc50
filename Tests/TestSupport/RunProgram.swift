import Foundation

/// A program that ran to its end.
public struct RunProgram {
  public let status: Int32
  public let output: [UInt8]
  public let error: String

  public var text: String { String(decoding: output, as: UTF8.self) }
  /// Standard error by lines; empty where nothing was written.
  public var errorLines: [String] {
    error.split(separator: "\n", omittingEmptySubsequences: false).dropLast(error.hasSuffix("\n") ? 1 : 0).map(
      String.init)
  }

  /// Runs a program with no input; what it writes goes through files, so that no pipe fills.
  ///
  /// - Parameter environment: replaces variables of this process; nil removes one.
  public init(
    _ path: String, _ arguments: [String], environment changes: [String: String?] = [:], in folder: String? = nil
  ) throws {
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("espalier-run-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: place, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: place) }
    func sink(_ name: String) throws -> (URL, FileHandle) {
      let url = place.appendingPathComponent(name)
      try Data().write(to: url)
      return (url, try FileHandle(forWritingTo: url))
    }
    let (outputURL, outputHandle) = try sink("output")
    let (errorURL, errorHandle) = try sink("error")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in changes { environment[name] = value }
    process.environment = environment
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = outputHandle
    process.standardError = errorHandle
    try process.run()
    process.waitUntilExit()
    status = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
    output = [UInt8](try Data(contentsOf: outputURL))
    error = String(decoding: try Data(contentsOf: errorURL), as: UTF8.self)
  }
}

extension RunProgram {
  /// The command `espalier` of this build, which lies beside the tests' own program.
  public static func espalier(
    _ arguments: [String], environment: [String: String?] = [:], in folder: String? = nil
  ) throws -> RunProgram {
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("espalier").path
    return try RunProgram(path, arguments, environment: environment, in: folder)
  }

  /// A program found by its name.
  public static func tool(
    _ arguments: [String], environment: [String: String?] = [:], in folder: String? = nil
  ) throws -> RunProgram {
    try RunProgram("/usr/bin/env", arguments, environment: environment, in: folder)
  }

  /// Standard output as exactly one JSON object.
  public func json() throws -> [String: Any] { try Self.object(Data(output)) }

  /// The JSON object that `data` is.
  public static func object(_ data: Data) throws -> [String: Any] {
    guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
      throw CocoaError(.fileReadCorruptFile)
    }
    return object
  }
}
