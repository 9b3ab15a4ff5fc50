import ArgumentParser
import Espalier
import EspalierCore
import EspalierData
import Foundation

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Trains several methods at several sparsities with several seeds and tabulates what they come to.",
    discussion: """
      Takes train's flags for what all runs share. The same command again goes on where it was stopped, and tries again what failed; \
      with more methods, sparsities or seeds it trains what is missing. Writes compare.csv, compare.json and compare.html of what it \
      was asked for into its folder below --output. --max-time is that of the whole comparison.
      """)

  @Option(
    help:
      "Methods, e.g. gse,set,dense, by default --method's; each may have flags of its own: gse:guide=grabo:gamma=0.25.")
  var methods: String?
  @Option(help: "Sparsities, e.g. .9,.98; by default --sparsity's.") var sparsities: String?
  @Option(help: "Seeds, e.g. 1,2,3; by default --seed's.") var seeds: String?
  @Option(help: "Runs at the same time; 0: as many as processors and memory allow.") var jobs = 1
  @OptionGroup var flags: TrainFlags
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let rows: [Comparison.Row]
    let failed: [Comparison.Failure]
    let synthetic: Bool
    let stopped: String?
    let run: String

    init(_ comparison: Comparison, in folder: String, stopped: String? = nil) {
      (rows, failed, synthetic) = (comparison.rows, comparison.failures, comparison.isSynthetic)
      (self.stopped, run) = (stopped, folder)
    }
  }

  func run() throws {
    let stop = try StopRequest(parsing: flags.maxTime)
    let grid = try grid()
    guard jobs >= 0, jobs <= 1024 else {
      throw EspalierError.usage("jobs: \(jobs) is out of range; expected 0 to 1024")
    }
    var outcomes: [String: ComparisonCell.Outcome] = [:]
    for cell in grid.cells { outcomes[cell.folder] = cell.outcome }
    let missing = grid.cells.filter { outcomes[$0.folder] == nil }
    Terminal.note("\(grid.cells.count) runs in \(grid.folder), \(missing.count) to go")
    Self.warnOfOtherVersions(grid.cells)
    try checkInputs(of: grid.cells)
    try warnOfLatePruning(grid)
    var failed: [(cell: ComparisonCell, error: EspalierError)] = []
    let runner = CellRunner(
      jobs: jobs == 0 ? nil : jobs, threads: grid.cells[0].configuration.threads, stop: stop,
      progress: ComparisonProgress(total: grid.cells.count, ended: grid.cells.count - missing.count))
    do {
      try runner.run(missing) { cell, outcome in
        outcomes[cell.folder] = outcome
        if case .failed(let error) = outcome { failed.append((cell, error)) }
        try write(grid.comparison(of: outcomes), to: grid.folder)
      }
    } catch let stopped as ComparisonStopped {
      if json { try Terminal.json(Result(grid.comparison(of: outcomes), in: grid.folder, stopped: stopped.reason)) }
      throw stopped
    }
    let comparison = grid.comparison(of: outcomes)
    try write(comparison, to: grid.folder)
    if json {
      try Terminal.json(Result(comparison, in: grid.folder))
    } else {
      try Terminal.result(comparison.table)
      try Terminal.result(grid.folder + "/compare.html")
    }
    if let first = failed.first {
      let words = failed.map { "\($0.cell.name): \($0.error.message) (see \($0.cell.log))" }.joined(separator: "; ")
      throw EspalierError(
        first.error.kind,
        "\(failed.count) of \(grid.cells.count) runs failed, which the same command tries again: \(words)")
    }
  }

  /// Runs that are there, finished or not, must have seen the data and the initial weights that others are to see.
  ///
  /// - Throws: `EspalierError.input` where one has not.
  private func checkInputs(of cells: [ComparisonCell]) throws {
    let known = try cells.compactMap { cell in try cell.inputs().map { (cell, $0) } }
    guard let settings = known.first?.0.configuration else { return }
    let found = try TrainingSession.find(settings.dataset, directory: settings.dataDir)
    let data = try Activity.during("reading data set \(settings.dataset)") { try found.load() }.fingerprint
    for (cell, inputs) in known {
      do {
        try inputs.check(cell.configuration, data: data)
      } catch let error as EspalierError {
        throw EspalierError(error.kind, "\(cell.folder): \(error.message); or choose another --output")
      }
    }
  }

  /// Results of another version of the program may not be comparable with those to come.
  private static func warnOfOtherVersions(_ cells: [ComparisonCell]) {
    let commits = cells.compactMap(\.commit).filter { $0 != buildCommit }
    let others = Dictionary(grouping: commits, by: \.self).sorted { $0.key < $1.key }
    guard !others.isEmpty else { return }
    let words = others.map { "\($0.value.count) of commit \($0.key)" }.joined(separator: ", ")
    Terminal.note(
      "espalier: warning: not all results there are of this program's commit \(buildCommit): \(words); to have all of one version choose another --output"
    )
  }

  /// Methods that come to their sparsity only after the end of their runs.
  private func warnOfLatePruning(_ grid: ComparisonGrid) throws {
    let dataset = flags.dataset ?? RunConfiguration().dataset
    let samples = try DatasetCatalog.description(of: dataset, directory: flags.dataDir).trainCount
    for row in grid.rows {
      if let words = try row.cells.first?.configuration.prunesTooLate(samples: samples) {
        Terminal.note("espalier: warning: \(row.method) \(row.sparsity): \(words)")
      }
    }
  }

  private func grid() throws -> ComparisonGrid {
    guard let named = methods ?? flags.method else {
      throw EspalierError.usage("methods: none; expected --methods with a list such as gse,set,dense")
    }
    guard methods == nil || flags.method == nil else {
      throw EspalierError.usage("method: --methods says which methods are compared; leave --method out")
    }
    guard !flags.localBatchNorm else {
      throw EspalierError.usage("local-batch-norm: goes with mpirun, the runs of a comparison are a process each")
    }
    let methods = try list(named, flag: "methods", like: "methods such as gse,set") { $0.isEmpty ? nil : $0 }
    try refuseIdleFlags(of: named)
    let sparsities = try sparsities.map { try list($0, flag: "sparsities", Double.init) }
    let seeds = try seeds.map { try list($0, flag: "seeds") { UInt64($0) } }
    return try ComparisonGrid(
      methods: methods.map { try MethodVariant($0) },
      sparsities: sparsities ?? [commonSparsity()],
      seeds: seeds ?? [flags.seed], flags: flags)
  }

  /// Refuses a flag that none of the methods could heed; what some take is for those.
  private func refuseIdleFlags(of methods: String) throws {
    let idle = RunConfiguration.Method.idleKeys(ofAll: MethodVariant.methods(in: methods))
    var flags = flags
    let given = flags.clearFlags(idle).map(\.rawValue).sorted()
    guard let flag = given.first else { return }
    throw EspalierError.usage("\(flag): none of the methods \(methods) takes it; leave --\(flag) out")
  }

  /// The values of a comma-separated list, each once.
  private func list<T: Hashable>(
    _ text: String, flag: String, like example: String = "numbers such as 1,2", _ parse: (String) -> T?
  ) throws -> [T] {
    var known: Set<T> = []
    return try ValueList.parse(text, flag: flag, like: example, parse).filter { known.insert($0).inserted }
  }

  /// That of the initial weights, where they are all that says so.
  private func commonSparsity() throws -> Double {
    var flags = flags
    guard flags.initialWeights != nil, flags.sparsity == nil else {
      return flags.sparsity ?? RunConfiguration().sparsity
    }
    flags.method = RunConfiguration.Method.static.rawValue
    return try flags.resolve(isShared: true).sparsity
  }

  private func write(_ comparison: Comparison, to folder: String) throws {
    let files = [
      ("compare.csv", Data(comparison.csv.utf8)), ("compare.html", Data(comparison.html.utf8)),
      ("compare.json", try JSONOutput.encode(Result(comparison, in: folder)) + Data("\n".utf8)),
    ]
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw EspalierError.write("\(folder): cannot be made: \(error.reason); choose another --output")
    }
    for (name, data) in files {
      do {
        try data.write(to: URL(fileURLWithPath: folder + "/" + name), options: .atomic)
      } catch {
        throw EspalierError.write("\(folder)/\(name): cannot write: \(error.reason)")
      }
    }
  }
}
