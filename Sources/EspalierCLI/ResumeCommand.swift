import ArgumentParser
import Espalier
import EspalierCore
import Foundation
import Yams

struct ResumeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume", abstract: "Goes on with a stopped run, bit for bit as if it had never stopped.",
    discussion: "The newest checkpoint that is whole is where it goes on; without one, the run starts anew.")

  @Argument(help: ArgumentHelp("The run's folder.", valueName: "run")) var folder: String
  @Option(help: "Threads; results do not depend on them.") var threads: Int?
  @Option(help: "The folder that holds the data set, where it has moved.") var dataDir: String?
  @Option(help: "Time after which the run stops again, e.g. 3h50m; by default as before.") var maxTime: String?
  @Flag(help: "Show on this machine that a stop changes nothing, and leave the run as it is.") var verify = false
  @Flag(help: "Print the result as one JSON object.") var json = false

  func run() throws { try Launch.current.withRanks(run) }

  private func run(on ranks: RankGroup) throws {
    let path = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    let recorded = try Self.settings(try RunFolder.configuration(of: path), of: path + "/config.yaml")
    if verify { try Launch.current.refuse("resume --verify") }
    if let threads { _ = try ComputeContext(threads: threads) }
    _ = try maxTime.map(TimeLimit.init)
    if !verify, let result = RunFolder.result(of: path) {
      return ranks.rank > 0 ? () : try finish(path, result: result)
    }
    var settings = recorded
    settings.threads = threads ?? (ranks.size > 1 ? Launch.current.threads : recorded.threads)
    settings.dataDir = dataDir ?? recorded.dataDir
    settings.maxTime = maxTime ?? recorded.maxTime
    try settings.validateCheckpoints()
    let lock = ranks.rank > 0 ? nil : try RunLock(path)
    let stop = try StopRequest(parsing: settings.maxTime)
    if !verify { stop.listen() }
    let store = CheckpointStore(run: path, keep: settings.keep)
    let newest = store.newest { _, reason in
      Terminal.note("espalier: warning: a damaged checkpoint is skipped: \(reason)")
    }
    if let state = newest?.state { try Self.check(state, recorded: recorded, path: path) }
    if verify {
      let verification = ResumeVerification(settings: settings, path: path, store: store)
      return try show(try StoppedResult.whereDiverged(isPrinted: json, run: path) { try verification(from: newest) })
    }
    guard let lock else {
      return try Self.session(settings, from: newest, in: store, path: path, ranks: ranks).follow(stop)
    }
    store.removeUnfinished()
    RunFolder.removeTemporaries(in: path)
    let resolved = settings
    func begin(_ context: ComputeContext, step: Int?, epochs: Int) throws -> BegunRun {
      let folder = try RunFolder(resuming: path, lock: lock, step: step, epochs: epochs, context: context)
      return BegunRun(folder: folder, stop: stop, printsJSON: json)
    }
    let session = try Self.session(resolved, from: newest, in: store, path: path, ranks: ranks) {
      context, _ in try begin(context, step: nil, epochs: 0)
    }
    let progress = session.trainer.progress
    let run = try session.begun ?? begin(session.context, step: newest?.step, epochs: progress.history.count)
    try run.folder.appendLog("resumed after step \(progress.step)")
    Terminal.note("resumed after step \(progress.step) of \(session.trainer.timetable.steps)")
    try session.run(run)
  }

  /// A session in the state of a checkpoint; a new one without, whose run `begin` begins where connections have to be
  /// chosen.
  ///
  /// - Throws: `EspalierError.input` where the configuration, the data or the checkpoint are not the run's.
  static func session(
    _ settings: RunConfiguration, from saved: (step: Int, state: RunState)?, in store: CheckpointStore, path: String,
    ranks: RankGroup = RankGroup(), begin: ((ComputeContext, _ data: String) throws -> BegunRun)? = nil
  ) throws -> TrainingSession {
    // A checkpoint has the weights, and the fingerprint of the data.
    let inputs = try saved.map { RunInputs(data: $0.state.data) } ?? RunInputs(run: path)
    let session = try blaming(path + "/config.yaml") {
      let context = try ComputeContext(threads: settings.threads, gamma: settings.meterGamma)
      return try TrainingSession(
        settings, context: context, checkpoint: saved.map { try Checkpoint(path: store.path(step: $0.step)) },
        inputs: inputs, ranks: ranks, begin: begin)
    }
    guard let saved else { return session }
    try store.restore(session.trainer, step: saved.step, state: saved.state)
    if saved.state.instructionSet != session.context.instructionSet.name {
      Terminal.note(
        "espalier: warning: the run began on \(saved.state.instructionSet), this is \(session.context.instructionSet): results will not be equal to the bit"
      )
    }
    return session
  }

  private func show(_ verdict: ResumeVerification.Verdict) throws {
    if json { try Terminal.json(verdict) } else { try Terminal.result(verdict.text) }
    guard verdict.equal else {
      throw EspalierError.invariant("verify: a resumed run differs from an uninterrupted one on this machine")
    }
  }

  /// Does what a run that was killed between its result and its report left to do, and prints the result again.
  private func finish(_ path: String, result: Data) throws {
    RunFolder.removeTemporaries(in: path)
    if !FileManager.default.fileExists(atPath: path + "/report.html") { ReportCommand.writeIfPossible(ofRun: path) }
    try show(result, of: path)
  }

  /// Prints a finished run's result again.
  private func show(_ result: Data, of path: String) throws {
    if !json, let decoded = try? JSONOutput.decode(RunResult.self, from: result) {
      return try Terminal.result(decoded.summary(folder: path))
    }
    let text = String(decoding: result, as: UTF8.self)
    try Terminal.result(text.hasSuffix("\n") ? String(text.dropLast()) : text)
  }

  /// The settings that a run's config.yaml holds.
  static func settings(_ text: String, of path: String) throws -> RunConfiguration {
    try ConfigurationFile.checkKeys(of: text, path: path)
    do {
      let settings = try YAMLDecoder().decode(RunConfiguration.self, from: text)
      try blaming(path) { try settings.validateCheckpoints() }
      return settings
    } catch let error as EspalierError {
      throw error
    } catch let error as DecodingError where error.key != nil {
      throw EspalierError.input("\(path)\(error.place(in: text)): \(error.words); put back what train wrote there")
    } catch {
      let reason = "\(error)".split(whereSeparator: \.isNewline).joined(separator: " ")
      throw EspalierError.input("\(path): is no configuration of a run: \(reason)")
    }
  }

  /// What a file's own words make wrong is the file's fault, not the caller's.
  private static func blaming<R>(_ path: String, _ body: () throws -> R) throws -> R {
    do {
      return try body()
    } catch let error as EspalierError where error.kind == .usage {
      throw EspalierError.input("\(path): \(error.message)")
    }
  }

  /// A run goes on under the settings that its checkpoint was made under.
  private static func check(_ state: RunState, recorded: RunConfiguration, path: String) throws {
    guard try settings(state.configuration, of: path + "/checkpoints") == recorded else {
      throw EspalierError.input(
        "\(path)/config.yaml: differs from the settings in the run's checkpoint; put them back, or train anew")
    }
  }
}

extension DecodingError {
  /// The key of the configuration that is wrong or missing.
  fileprivate var key: String? {
    switch self {
    case .keyNotFound(let key, _): key.stringValue
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      context.codingPath.first?.stringValue
    @unknown default: nil
    }
  }

  fileprivate var words: String {
    guard case .keyNotFound(let key, _) = self else { return "\(key ?? "it") has a value that it cannot have" }
    return "\(key.stringValue) is missing"
  }

  fileprivate func place(in yaml: String) -> String {
    key.flatMap { ConfigurationFile.line(of: $0, yaml: yaml) }.map { ", line \($0)" } ?? ""
  }
}
