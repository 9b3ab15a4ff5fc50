import Espalier
import EspalierCore
import EspalierTopology
import Foundation
import Yams

/// A method of a comparison, with flags of its own: `gse`, or `gse:guide=grabo:gamma=0.25`.
struct MethodVariant {
  /// As it was given.
  let name: String
  let method: String
  private let keys: [RunConfiguration.CodingKeys]
  private let flags: TrainFlags

  /// - Parameter text: a method's name and, each behind a colon, its own flags with their values.
  /// - Throws: `EspalierError.usage` for a key that no variant takes, with the nearest that one does, or a value of the wrong kind.
  init(_ text: String) throws {
    let place = "methods: '\(text)'"
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    var keys: [RunConfiguration.CodingKeys] = []
    var arguments: [String] = []
    for part in parts.dropFirst() {
      let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      let key = try Self.key(sides[0], place: place)
      let value = sides.count < 2 ? "" : sides[1]
      let argument = try value.isEmpty ? [] : ConfigurationFile.argument(key, Node(value), place: place)
      guard !argument.isEmpty else { throw EspalierError.usage("\(place): \(key.rawValue): expected a value") }
      guard !keys.contains(key) else { throw EspalierError.usage("\(place): has \(key.rawValue) twice") }
      keys.append(key)
      arguments += argument
    }
    (name, method, self.keys) = (text, parts[0], keys)
    flags = try ConfigurationFile.flags(arguments, place: place)
  }

  /// What the variants of a comma-separated list are variants of; nil for unknown methods.
  static func methods(in list: String) -> [RunConfiguration.Method?] {
    list.split(separator: ",").map { variant in
      let name = variant.prefix { $0 != ":" }.trimmingCharacters(in: .whitespaces)
      return RunConfiguration.Method(rawValue: name)
    }
  }

  private static func key(_ name: String, place: String) throws -> RunConfiguration.CodingKeys {
    let key = RunConfiguration.CodingKeys(rawValue: name)
    if let key, settings[key] == nil {
      throw EspalierError.usage("\(place): all runs of a comparison share '\(key.rawValue)', or it says which they are")
    }
    let known = RunConfiguration.CodingKeys.allCases.filter { settings[$0] != nil }
    return try ConfigurationFile.known(name, among: known, place: place)
  }

  /// A part of a path that no other variant has: the name itself where it has no flags.
  var folderName: String {
    guard !keys.isEmpty else { return name }
    let safe = name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "=.+-".contains($0)) ? $0 : "_" }
    guard safe.count > 120 else { return String(safe) }
    var hash = SHA256Stream()
    name.utf8CString.withUnsafeBytes { hash.update($0) }
    return String(safe.prefix(100)) + "_" + hash.finish().prefix(8)
  }

  /// One of its runs.
  ///
  /// - Parameter shared: what all runs of the comparison share; of these the method ignores what it does not take.
  /// - Throws: `EspalierError.usage` where there could be no such run.
  func configuration(sharing shared: TrainFlags, sparsity: Double, seed: UInt64, output: String) throws
    -> RunConfiguration
  {
    var own = shared
    own.method = method
    own.clearFlags(RunConfiguration.Method(rawValue: method)?.idleKeys ?? [])
    // What would contradict a flag of the variant's own gives way to it.
    if flags.optimizer == OptimizerKind.adamw.rawValue { own.momentum = nil }
    if flags.schedule == ScheduleKind.cosine.rawValue { own.milestones = nil }
    if let graph = flags.distribution, graph != RunConfiguration.DistributionName.smallWorld.rawValue {
      own.rewire = nil
    }
    for key in keys { Self.settings[key]?(&own, flags) }
    // The comparison's time is not a run's.
    (own.sparsity, own.seed, own.output, own.maxTime) = (sparsity, seed, output, nil)
    do {
      return try own.resolve()
    } catch let error as EspalierError where !keys.isEmpty {
      throw EspalierError(error.kind, "methods: '\(name)': \(error.message)")
    }
  }

  /// The flags that a variant may have, and how it takes them.
  private static let settings: [RunConfiguration.CodingKeys: @Sendable (inout TrainFlags, TrainFlags) -> Void] = [
    .guide: { $0.guide = $1.guide },
    .scope: { $0.scope = $1.scope },
    .updateMode: { $0.updateMode = $1.updateMode },
    .initialSparsity: { $0.initialSparsity = $1.initialSparsity },
    .backwardSparsity: { $0.backwardSparsity = $1.backwardSparsity },
    .pruneSchedule: { $0.pruneSchedule = $1.pruneSchedule },
    .rounds: { $0.rounds = $1.rounds },
    .rewindStep: { $0.rewindStep = $1.rewindStep },
    .distribution: { $0.distribution = $1.distribution },
    .rewire: { $0.rewire = $1.rewire },
    .gamma: { $0.gamma = $1.gamma },
    .exactSubset: { $0.exactSubset = $1.exactSubset },
    .wholeDenseLayers: { $0.wholeDenseLayers = $1.wholeDenseLayers },
    .extraBatches: { $0.extraBatches = $1.extraBatches },
    .alpha: { $0.alpha = $1.alpha },
    .updateEvery: { $0.updateEvery = $1.updateEvery },
    .updateUntil: { $0.updateUntil = $1.updateUntil },
    .epochs: { $0.epochs = $1.epochs },
    .maxSteps: { $0.maxSteps = $1.maxSteps },
    .batchSize: { $0.batchSize = $1.batchSize },
    .learningRate: { $0.learningRate = $1.learningRate },
    .momentum: { $0.momentum = $1.momentum },
    .weightDecay: { $0.weightDecay = $1.weightDecay },
    .optimizer: { $0.optimizer = $1.optimizer },
    .schedule: { $0.schedule = $1.schedule },
    .warmupEpochs: { $0.warmupEpochs = $1.warmupEpochs },
    .labelSmoothing: { $0.labelSmoothing = $1.labelSmoothing },
    .clipNorm: { $0.clipNorm = $1.clipNorm },
    .powerprop: { $0.powerprop = $1.powerprop },
    .deepHoyer: { $0.deepHoyer = $1.deepHoyer },
    .accumulate: { $0.accumulate = $1.accumulate },
    .augment: { $0.augment = $1.augment },
  ]
}
