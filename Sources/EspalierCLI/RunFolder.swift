import Espalier
import EspalierBaselines
import EspalierCore
import Foundation

/// A run's folder: DIR/NAME-DATE-ID with the configuration, the environment, logs, checkpoints and the result.
final class RunFolder {
  let path: String
  private let metrics: LineWriter
  private let topology: LineWriter
  private let log: LineWriter
  private let lock: RunLock
  /// The run's scalars for TensorBoard, once training begins.
  var board: TensorBoardLog?
  /// What config.yaml holds.
  let configuration: String
  /// Time that this process took to write checkpoints.
  var checkpointSeconds = 0.0

  /// Makes the folder, which is there with its configuration or not at all.
  ///
  /// - Throws: `EspalierError.write` where that fails.
  init(_ configuration: RunConfiguration, inputs: RunInputs, context: ComputeContext) throws {
    let date = Date().formatted(.iso8601.dateSeparator(.omitted).timeSeparator(.omitted))
    let id = UUID().uuidString.prefix(6).lowercased()
    let name = "\(configuration.model)-\(configuration.dataset)-\(configuration.method.rawValue)"
    path = "\(configuration.output)/\(name)-\(date)-\(id)"
    let text = try configuration.yaml()
    self.configuration = text
    var held: RunLock?
    do {
      try NewFolder.make(at: path) { folder in
        held = try RunLock(folder)
        try DurableFile.write(Data(text.utf8), to: folder + "/" + Self.configurationName)
        try DurableFile.write(try JSONOutput.encode(inputs) + Data("\n".utf8), to: folder + "/" + RunInputs.fileName)
      }
      try? FolderSync.synchronize(configuration.output)
    } catch let error as EspalierError where error.kind == .write {
      throw EspalierError.write("\(error.message); choose another --output")
    }
    lock = try held ?? RunLock(path)
    metrics = try LineWriter(path: path + "/metrics.jsonl")
    topology = try LineWriter(path: path + "/topology.jsonl")
    log = try LineWriter(path: path + "/train.log")
    try write(RunEnvironment(context), to: "environment.json")
  }

  /// Opens the folder of a run that goes on after `step` steps (nil: it starts anew) and `epochs` evaluated epochs:
  /// what logs say of later ones is cut off.
  ///
  /// - Throws: `EspalierError.input` where its configuration cannot be read, `EspalierError.write` where it cannot be written to.
  init(resuming path: String, lock: RunLock, step: Int?, epochs: Int, context: ComputeContext) throws {
    self.path = path
    self.lock = lock
    configuration = try Self.configuration(of: path)
    try Self.cut(path + "/metrics.jsonl", step: step, epochs: epochs)
    try Self.cut(path + "/topology.jsonl", step: step, epochs: epochs)
    metrics = try LineWriter(path: path + "/metrics.jsonl")
    topology = try LineWriter(path: path + "/topology.jsonl")
    log = try LineWriter(path: path + "/train.log")
    try write(RunEnvironment(context), to: "environment.json")
  }

  private static let configurationName = "config.yaml"

  /// The text of a run's configuration.
  ///
  /// - Throws: `EspalierError.input` where there is none.
  static func configuration(of path: String) throws -> String {
    guard let data = FileManager.default.contents(atPath: path + "/" + configurationName) else {
      throw EspalierError.input("\(path): has no \(configurationName) that can be read; expected a run's folder")
    }
    return String(decoding: data, as: UTF8.self)
  }

  /// The bytes of a finished run's result; nil where it is not finished.
  static func result(of path: String) -> Data? {
    guard let data = FileManager.default.contents(atPath: path + "/result.json"),
      (try? JSONOutput.decode(RunResult.self, from: data)) != nil
    else { return nil }
    return data
  }

  /// Drops lines of later steps and epochs, and a last one that is not whole; all of them where the run starts anew.
  private static func cut(_ path: String, step: Int?, epochs: Int) throws {
    struct Line: Decodable {
      let step: Int?
      let epoch: Double?
    }
    guard let data = FileManager.default.contents(atPath: path) else { return }
    let kept = data.split(separator: UInt8(ascii: "\n")).filter { text in
      guard let line = try? JSONDecoder().decode(Line.self, from: text) else { return false }
      if let number = line.step { return number <= step ?? -1 }
      return (line.epoch ?? 0) <= Double(epochs)
    }
    try writeAtomically(Data(kept.map { $0 + Data("\n".utf8) }.joined()), to: path)
  }

  /// Returns when all lines are on disk.
  func synchronize() throws {
    try metrics.synchronize()
    try topology.synchronize()
    try board?.synchronize()
  }

  func write(_ value: some Encodable, to name: String) throws {
    try Self.writeAtomically(try JSONOutput.encode(value) + Data("\n".utf8), to: path + "/" + name)
  }

  func appendMetrics(_ value: some Encodable) throws { try metrics.append(try JSONOutput.encode(value, pretty: false)) }
  func appendTopology(_ value: some Encodable) throws {
    try topology.append(try JSONOutput.encode(value, pretty: false))
  }
  func appendLog(_ line: String) throws { try log.append(Data(line.utf8)) }

  /// Deletes what a process that was killed while it replaced a file left behind; Foundation names such files so.
  static func removeTemporaries(in path: String) {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    for name in names where name.hasPrefix(".dat.nosync") {
      try? FileManager.default.removeItem(atPath: path + "/" + name)
    }
  }

  private static func writeAtomically(_ data: Data, to path: String) throws {
    do {
      try data.write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw EspalierError.write("\(path): cannot write: \(error.reason)")
    }
  }
}

/// Keeps a second process from training the same run; ends with the process.
final class RunLock {
  private let descriptor: Int32

  /// - Throws: `EspalierError` where another process has it, or the file system knows no locks.
  init(_ path: String) throws {
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw EspalierError.input(
        "\(path): cannot be opened: \(String(cString: strerror(errno))); expected a run's folder")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw EspalierError.invariant(
        errno == EWOULDBLOCK
          ? "\(path): another process trains this run; wait for it or stop it first"
          : "\(path): cannot be locked: \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }
}

/// Appends lines to a file, each at once.
final class LineWriter {
  private let path: String
  private let handle: FileHandle

  init(path: String) throws {
    self.path = path
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      throw EspalierError.write("\(path): cannot make the file: \(String(cString: strerror(errno)))")
    }
    handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  /// Returns when all lines are on disk.
  func synchronize() throws {
    do {
      try handle.synchronize()
    } catch {
      throw EspalierError.write("\(path): cannot be synchronized: \(error.reason)")
    }
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
  let commit = buildCommit
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
