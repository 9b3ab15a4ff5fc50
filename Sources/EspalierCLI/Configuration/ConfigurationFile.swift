import Espalier
import EspalierCore
import Foundation
import Yams

/// A configuration file: YAML whose keys are `train`'s flags, as `config.yaml` in a run's folder.
enum ConfigurationFile {
  /// The flags that the file stands for, as they would be written on a command line.
  ///
  /// - Throws: `EspalierError.input` where the file is absent or no such YAML, `EspalierError.usage` for a key that is unknown, with the
  ///   nearest that is known, or a value of the wrong kind.
  static func arguments(path: String) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EspalierError.input("\(path): cannot be read; expected a YAML file whose keys are train's flags")
    }
    let arguments = try arguments(yaml: String(decoding: data, as: UTF8.self), path: path)
    _ = try flags(arguments, place: path)
    return arguments
  }

  /// The flags that arguments made of keys and values stand for.
  ///
  /// - Throws: `EspalierError.usage`, which names the place that they come from, for a value of the wrong kind.
  static func flags(_ arguments: [String], place: String) throws -> TrainFlags {
    do {
      return try TrainFlags.parse(arguments)
    } catch {
      let words = TrainFlags.message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
      throw EspalierError.usage("\(place): \(words)")
    }
  }

  private static func arguments(yaml: String, path: String) throws -> [String] {
    let node: Node?
    do {
      node = try Yams.compose(yaml: yaml)
    } catch {
      let place = "\(error)".split(whereSeparator: \.isNewline).first ?? ""
      throw EspalierError.input("\(path): is not YAML (\(place)); expected lines such as 'sparsity: 0.98'")
    }
    guard let node else { return [] }
    guard let mapping = node.mapping else {
      throw EspalierError.input("\(path): expected keys with values, such as 'sparsity: 0.98', found something else")
    }
    return try mapping.flatMap { key, value in
      let line = key.mark.map { ", line \($0.line)" } ?? ""
      return try argument(try known(key.string ?? "(not a word)", place: path + line), value, place: path)
    }
  }

  /// The line of a key; nil where the file, which has been read before, does not have it.
  static func line(of key: String, path: String) -> Int? {
    FileManager.default.contents(atPath: path).flatMap { line(of: key, yaml: String(decoding: $0, as: UTF8.self)) }
  }

  static func line(of key: String, yaml: String) -> Int? {
    (try? Yams.compose(yaml: yaml))?.mapping?.first { $0.key.string == key }?.key.mark?.line
  }

  /// Makes sure that a run's configuration has no keys but the known ones.
  ///
  /// - Throws: `EspalierError.input` that names the first unknown one.
  static func checkKeys(of yaml: String, path: String) throws {
    for (key, _) in (try? Yams.compose(yaml: yaml))?.mapping ?? [:] {
      do {
        _ = try known(key.string ?? "(not a word)", place: path + (key.mark.map { ", line \($0.line)" } ?? ""))
      } catch let error as EspalierError {
        throw EspalierError.input(error.message)
      }
    }
  }

  /// The key of that name.
  ///
  /// - Throws: `EspalierError.usage` with the nearest name of `keys` where it is none of them.
  static func known(
    _ name: String, among keys: [RunConfiguration.CodingKeys] = RunConfiguration.CodingKeys.allCases, place: String
  ) throws -> RunConfiguration.CodingKeys {
    if let key = RunConfiguration.CodingKeys(rawValue: name), keys.contains(key) { return key }
    let names = keys.map(\.rawValue)
    let hint =
      EspalierError.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
      ?? "known are \(names.joined(separator: ", "))"
    throw EspalierError.usage("\(place): unknown key '\(name)'; \(hint)")
  }

  /// What a key with a value is on a command line; nothing for a null.
  ///
  /// - Throws: `EspalierError.usage`, which names the place, for a value that is no such value.
  static func argument(_ key: RunConfiguration.CodingKeys, _ node: Node, place: String) throws -> [String] {
    let name = key.rawValue
    func wrong(_ expected: String) -> EspalierError {
      let line = node.mark.map { ", line \($0.line)" } ?? ""
      return EspalierError.usage("\(place)\(line): \(name): expected \(expected)")
    }
    if node.null != nil { return [] }
    if [.augment, .shuffle, .exactSubset, .wholeDenseLayers].contains(key) {
      guard let value = node.bool else { throw wrong("true or false") }
      return [value ? "--\(name)" : "--no-\(name)"]
    }
    if key == .localNorms {
      guard let value = node.bool else { throw wrong("true or false") }
      return value ? ["--\(name)"] : []
    }
    if let sequence = node.sequence {
      let values = sequence.compactMap(\.string)
      guard values.count == sequence.count else { throw wrong("a list of numbers") }
      // No milestones: the empty word, which the parser takes only as an argument of its own.
      return values.isEmpty ? ["--\(name)", ""] : ["--\(name)=\(values.joined(separator: ","))"]
    }
    guard let text = node.string else { throw wrong("a value") }
    return ["--\(name)=\(text)"]
  }
}

/// Puts the flags of `--config` and `--preset`, in their order, in front of those that were given, so that later ones win.
enum ArgumentExpansion {
  /// - Parameter arguments: the command line without the program's name.
  static func expand(_ arguments: [String]) throws -> [String] {
    let arguments = joiningNegativeNumbers(arguments)
    guard let verb = arguments.first, ["train", "compare"].contains(verb) else { return arguments }
    var expanded: [String] = []
    for i in arguments.indices {
      if let path = value(of: "--config", at: i, in: arguments) {
        expanded += try ConfigurationFile.arguments(path: path)
      }
      if let name = value(of: "--preset", at: i, in: arguments) { expanded += try Preset.arguments(name: name) }
    }
    // A file and a recipe name one method, which a comparison's own list takes the place of.
    if !values(of: "--methods", in: arguments).isEmpty { expanded.removeAll { $0.hasPrefix("--method=") } }
    return [verb] + withoutContradictions(expanded, given: Array(arguments.dropFirst()), verb: verb)
      + arguments.dropFirst()
  }

  /// Where the value that an error begins with comes from, in words that go before it; empty where it is not from a file.
  static func place(of error: EspalierError, in arguments: [String]) -> String {
    let key = String(error.message.prefix { $0 != ":" })
    let isGiven = arguments.contains { ["--", "--no-"].map { $0 + key }.contains($0.prefix { $0 != "=" }) }
    guard error.kind == .usage, !isGiven, RunConfiguration.CodingKeys(rawValue: key) != nil else { return "" }
    return values(of: "--config", in: arguments).reversed().lazy.compactMap { path in
      ConfigurationFile.line(of: key, path: path).map { "\(path), line \($0): " }
    }.first ?? ""
  }

  /// A file has every setting, also those that the chosen method, model, optimizer or schedule does not take: only flags that were given
  /// contradict.
  private static func withoutContradictions(_ expanded: [String], given: [String], verb: String) -> [String] {
    func last(_ key: RunConfiguration.CodingKeys) -> String? {
      values(of: "--" + key.rawValue, in: expanded + given).last
    }
    let standard = RunConfiguration()
    let named = last(.method).map(RunConfiguration.Method.init(rawValue:)) ?? standard.method
    // A comparison has several.
    let method = verb == "train" ? named : nil
    let compared = values(of: "--methods", in: given).last.map(MethodVariant.methods(in:))
    var idle = RunConfiguration.Method.idleKeys(ofAll: verb == "train" ? [named] : compared ?? [named])
    if verb == "compare" { idle.insert(.localNorms) }
    let model = last(.model) ?? standard.model
    if model != "mlp" { idle.insert(.hidden) }
    if !ModelCatalog.takesWidth(model) { idle.insert(.width) }
    let smallWorld = RunConfiguration.DistributionName.smallWorld.rawValue
    if method?.choosesStart == true, last(.distribution) == smallWorld { idle.formUnion([.distribution, .rewire]) }
    if last(.distribution) != smallWorld { idle.insert(.rewire) }
    let isAugmented = (expanded + given).last { ["--augment", "--no-augment"].contains($0) } != "--no-augment"
    if !isAugmented || !DatasetCatalog.isOfPictures(last(.dataset) ?? standard.dataset) { idle.insert(.crop) }
    if last(.optimizer) == OptimizerKind.adamw.rawValue { idle.insert(.momentum) }
    if last(.schedule) == ScheduleKind.cosine.rawValue { idle.insert(.milestones) }
    return idle.reduce(expanded) { without("--" + $1.rawValue, $0) }
  }

  /// Arguments without a flag, whose value is in the same argument or, where it is empty, in the next one.
  private static func without(_ flag: String, _ arguments: [String]) -> [String] {
    var kept = arguments.filter { !$0.hasPrefix(flag + "=") }
    let names = [flag, "--no-" + flag.dropFirst(2)]
    while let place = kept.firstIndex(where: names.contains) {
      kept.remove(at: place)
      if place < kept.count, kept[place].isEmpty { kept.remove(at: place) }
    }
    return kept
  }

  /// The parser takes what begins with a hyphen for a flag, and a flag's negative number for a missing one.
  private static func joiningNegativeNumbers(_ arguments: [String]) -> [String] {
    arguments.reduce(into: []) { joined, argument in
      if argument.prefixMatch(of: #/-[0-9.]/#) != nil, let flag = joined.last, flag.hasPrefix("--"), !flag.contains("=")
      {
        joined[joined.count - 1] = "\(flag)=\(argument)"
      } else {
        joined.append(argument)
      }
    }
  }

  private static func values(of flag: String, in arguments: [String]) -> [String] {
    arguments.indices.compactMap { value(of: flag, at: $0, in: arguments) }
  }

  /// nil where the argument at a place is another.
  private static func value(of flag: String, at place: Int, in arguments: [String]) -> String? {
    let argument = arguments[place]
    if argument.hasPrefix(flag + "=") { return String(argument.dropFirst(flag.count + 1)) }
    return argument == flag && place + 1 < arguments.count ? arguments[place + 1] : nil
  }
}
