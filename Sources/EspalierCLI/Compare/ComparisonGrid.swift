import Espalier
import EspalierCore
import Foundation
import Yams

/// The runs of a comparison: methods x sparsities x seeds, each in a folder of its own below one that depends on everything else.
struct ComparisonGrid {
  /// A method at a sparsity.
  struct Row {
    /// As it was given, with flags of its own.
    let method: String
    let sparsity: Double
    let cells: [ComparisonCell]
  }

  let folder: String
  let title: String
  let rows: [Row]

  var cells: [ComparisonCell] { rows.flatMap(\.cells) }

  /// - Parameter flags: what all runs share.
  /// - Throws: `EspalierError.usage` where a run could not be made.
  init(methods: [MethodVariant], sparsities: [Double], seeds: [UInt64], flags: TrainFlags) throws {
    var shared = flags
    shared.method = RunConfiguration.Method.static.rawValue
    shared.sparsity = sparsities[0]
    let folder = try Self.folder(of: shared)
    self.folder = folder
    let dataset = try shared.resolve(isShared: true).dataset
    title = "\(flags.model ?? RunConfiguration().model) on \(dataset)"
    rows = try methods.flatMap { method in
      // Dense runs ignore the sparsity, so one row is enough.
      try (method.method == RunConfiguration.Method.dense.rawValue ? [0] : sparsities).map { sparsity in
        let cells = try seeds.map { seed in
          let place = "\(folder)/cells/\(method.folderName)-\(sparsity)-\(seed)"
          return ComparisonCell(
            name: "\(method.name) \(sparsity) seed \(seed)", folder: place,
            configuration: try method.configuration(sharing: flags, sparsity: sparsity, seed: seed, output: place))
        }
        return Row(method: method.name, sparsity: sparsity, cells: cells)
      }
    }
  }

  /// A folder that the same settings find again, whatever the methods, sparsities and seeds, the threads and the places of files.
  private static func folder(of shared: TrainFlags) throws -> String {
    var settings = try shared.resolve(isShared: true)
    let output = settings.output
    (settings.output, settings.dataDir, settings.threads, settings.seed, settings.sparsity) = ("", nil, 1, 0, 0)
    (settings.maxTime, settings.keep, settings.checkpointEvery, settings.logEvery) = (nil, 1, 1, 1)
    var hash = SHA256Stream()
    let text = try YAMLEncoder().encode(settings)
    text.utf8CString.withUnsafeBytes { hash.update($0) }
    return "\(output)/compare-\(settings.model)-\(settings.dataset)-\(hash.finish().prefix(8))"
  }

  /// What the finished runs come to.
  func comparison(of results: [String: ComparisonCell.Outcome]) -> Comparison {
    let rows = rows.compactMap { row -> Comparison.Row? in
      var finished: [Comparison.Cell] = []
      var diverged: [UInt64] = []
      for cell in row.cells {
        switch results[cell.folder] {
        case .finished(let result): finished.append(result)
        case .diverged: diverged.append(cell.configuration.seed)
        case .failed, nil: break
        }
      }
      return Comparison.Row(method: row.method, sparsity: row.sparsity, cells: finished, diverged: diverged)
    }
    let failures = cells.compactMap { cell -> Comparison.Failure? in
      guard case .failed(let error) = results[cell.folder] else { return nil }
      return Comparison.Failure(run: cell.name, error: error.message, log: cell.log)
    }
    let isSynthetic = cells.contains { $0.configuration.dataset == "synthetic" }
    return Comparison(title: title, rows: rows, failures: failures, isSynthetic: isSynthetic)
  }
}

/// One run of a comparison.
struct ComparisonCell {
  enum Outcome {
    case finished(Comparison.Cell)
    case diverged
    /// For another reason; the run is tried again when its result is asked for again.
    case failed(EspalierError)
  }

  let name: String
  let folder: String
  let configuration: RunConfiguration

  /// What its process says goes here.
  var log: String { folder + "/log.txt" }

  /// The last line of its log.
  var lastWords: String {
    let text = FileManager.default.contents(atPath: log).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.split(separator: "\n").last.map(String.init) ?? "it said nothing"
  }

  /// The result of a run that ended, also of one long ago.
  var outcome: Outcome? {
    if let finished { return .finished(finished.result) }
    return FileManager.default.fileExists(atPath: folder + "/diverged") ? .diverged : nil
  }

  /// The commit of the program that made the result; nil where there is none.
  var commit: String? {
    struct Environment: Decodable { let commit: String }
    guard let finished else { return nil }
    let data = FileManager.default.contents(atPath: finished.run + "/environment.json") ?? Data()
    return (try? JSONDecoder().decode(Environment.self, from: data))?.commit ?? "unknown"
  }

  /// What its newest run began with, or the one that has a result; nil where there is none, or it did not write that down.
  ///
  /// - Throws: `EspalierError.input` where that is damaged.
  func inputs() throws -> RunInputs? { try (finished?.run ?? runs.first).flatMap(RunInputs.init(run:)) }

  /// The newest run that has a result.
  private var finished: (run: String, result: Comparison.Cell)? {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    for run in runs {
      guard let data = FileManager.default.contents(atPath: run + "/result.json") else { continue }
      if let result = try? decoder.decode(Comparison.Cell.self, from: data) { return (run, result) }
    }
    return nil
  }

  /// Folders of its runs, the newest first.
  var runs: [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    // A folder with a hidden name was never finished.
    return names.filter { !$0.hasPrefix(".") }.sorted(by: >).map { folder + "/" + $0 }.filter {
      FileManager.default.fileExists(atPath: $0 + "/config.yaml")
    }
  }

  /// What the program is asked for: to go on with a run that was stopped, or to start one.
  ///
  /// - Throws: `EspalierError.write` where the configuration cannot be written.
  func arguments() throws -> [String] {
    if let stopped = runs.first {
      return ["resume", stopped, "--threads", "\(configuration.threads)"]
        + (configuration.dataDir.map { ["--data-dir", $0] } ?? [])
    }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try Data(configuration.yaml().utf8).write(
        to: URL(fileURLWithPath: folder + "/cell.yaml"), options: .atomic)
    } catch {
      throw EspalierError.write("\(folder): cannot write: \(error.reason); choose another --output")
    }
    return ["train", "--config", folder + "/cell.yaml"]
  }
}
