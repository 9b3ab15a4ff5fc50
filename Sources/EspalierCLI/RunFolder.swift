import Espalier
import EspalierBaselines
import EspalierCore
import Foundation
import Yams

/// A run's folder: DIR/NAME-DATE-ID with the configuration, the environment, logs, checkpoints and the result.
final class RunFolder {
  let path: String
  private let metrics: LineWriter
  private let topology: LineWriter
  private let log: LineWriter

  /// Makes the folder and writes its configuration, first and atomically.
  ///
  /// - Throws: `EspalierError.write` where that fails.
  init(_ configuration: RunConfiguration, context: ComputeContext) throws {
    let date = Date().formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
    let id = UUID().uuidString.prefix(6).lowercased()
    let name = "\(configuration.model)-\(configuration.dataset)-\(configuration.method.rawValue)"
    path = "\(configuration.output)/\(name)-\(date)-\(id)"
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw EspalierError.write("\(path): cannot make the run's folder: \(error.reason); choose another --output")
    }
    let yaml = try YAMLEncoder().encode(configuration)
    try Self.writeAtomically(Data(yaml.utf8), to: path + "/config.yaml")
    metrics = try LineWriter(path: path + "/metrics.jsonl")
    topology = try LineWriter(path: path + "/topology.jsonl")
    log = try LineWriter(path: path + "/train.log")
    try write(RunEnvironment(context), to: "environment.json")
  }

  func write(_ value: some Encodable, to name: String) throws {
    try Self.writeAtomically(try JSONOutput.encode(value) + Data("\n".utf8), to: path + "/" + name)
  }

  func appendMetrics(_ value: some Encodable) throws { try metrics.append(try JSONOutput.encode(value, pretty: false)) }
  func appendTopology(_ value: some Encodable) throws {
    try topology.append(try JSONOutput.encode(value, pretty: false))
  }
  func appendLog(_ line: String) throws { try log.append(Data(line.utf8)) }

  private static func writeAtomically(_ data: Data, to path: String) throws {
    do {
      try data.write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw EspalierError.write("\(path): cannot write: \(error.reason)")
    }
  }
}

/// Appends lines to a file, each at once.
final class LineWriter {
  private let path: String
  private let handle: FileHandle

  init(path: String) throws {
    self.path = path
    guard FileManager.default.createFile(atPath: path, contents: nil), let handle = FileHandle(forWritingAtPath: path)
    else { throw EspalierError.write("\(path): cannot make the file: \(String(cString: strerror(errno)))") }
    self.handle = handle
  }

  func append(_ line: Data) throws {
    do {
      try handle.write(contentsOf: line + Data("\n".utf8))
    } catch {
      throw EspalierError.write("\(path): cannot write: \(error.reason)")
    }
  }
}

extension Error {
  /// The system's words for what went wrong.
  var reason: String {
    let underlying = (self as NSError).userInfo[NSUnderlyingErrorKey] as? any Error
    let error = (underlying ?? self) as NSError
    if error.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(error.code))) }
    return error.localizedDescription
  }
}

/// What a run ran on.
struct RunEnvironment: Encodable {
  let version = espalierVersion
  let processor: String
  let processors = ComputeContext.processors
  let threads: Int
  let threadsGranted: Int
  let instructionSet: String
  let instructionSets: [String]
  let openmp: Int
  let openblas: String
  let system: String

  init(_ context: ComputeContext) {
    threads = context.threads
    threadsGranted = context.threadsGranted
    instructionSet = context.instructionSet.name
    instructionSets = InstructionSet.available.map(\.name)
    openmp = ComputeContext.openMPVersion
    openblas = DenseLibrary.description
    system = ProcessInfo.processInfo.operatingSystemVersionString
    let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let line = cpu.split(separator: "\n").first { $0.hasPrefix("model name") }
    processor = line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown"
  }
}
