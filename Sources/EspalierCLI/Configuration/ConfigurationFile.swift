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
    do {
      _ = try TrainFlags.parse(arguments)
    } catch {
      let words = TrainFlags.message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
      throw EspalierError.usage("\(path): \(words)")
    }
    return arguments
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
      try argument(try known(key, path: path), value, path: path)
    }
  }

  private static func known(_ node: Node, path: String) throws -> RunConfiguration.CodingKeys {
    let name = node.string ?? "(not a word)"
    if let key = RunConfiguration.CodingKeys(rawValue: name) { return key }
    let names = RunConfiguration.CodingKeys.allCases.map(\.rawValue)
    let line = node.mark.map { ", line \($0.line)" } ?? ""
    let hint =
      EspalierError.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
      ?? "known are \(names.joined(separator: ", "))"
    throw EspalierError.usage("\(path)\(line): unknown key '\(name)'; \(hint)")
  }

  private static func argument(_ key: RunConfiguration.CodingKeys, _ node: Node, path: String) throws -> [String] {
    let name = key.rawValue
    func wrong(_ expected: String) -> EspalierError {
      let line = node.mark.map { ", line \($0.line)" } ?? ""
      return EspalierError.usage("\(path)\(line): \(name): expected \(expected)")
    }
    if node.null != nil { return [] }
    if key == .augment || key == .shuffle {
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

/// Puts the flags of `--config` and `--preset` in front of those that were given, so that later ones win.
enum ArgumentExpansion {
  /// - Parameter arguments: the command line without the program's name.
  static func expand(_ arguments: [String]) throws -> [String] {
    guard let verb = arguments.first, ["train", "compare"].contains(verb) else { return arguments }
    var expanded: [String] = []
    for (flag, expand) in [("--config", ConfigurationFile.arguments), ("--preset", Preset.arguments)] {
      for value in values(of: flag, in: arguments) { expanded += try expand(value) }
    }
    return [verb] + withoutContradictions(expanded, given: Array(arguments.dropFirst())) + arguments.dropFirst()
  }

  /// A file has every setting, also those that the chosen optimizer or schedule does not take: only flags that were given contradict.
  private static func withoutContradictions(_ expanded: [String], given: [String]) -> [String] {
    let all = expanded + given
    var kept = expanded
    if values(of: "--optimizer", in: all).last == "adamw" { kept.removeAll { $0.hasPrefix("--momentum=") } }
    if values(of: "--schedule", in: all).last == "cosine" {
      kept.removeAll { $0.hasPrefix("--milestones=") }
      if let flag = kept.firstIndex(of: "--milestones") { kept.removeSubrange(flag...flag + 1) }
    }
    return kept
  }

  private static func values(of flag: String, in arguments: [String]) -> [String] {
    arguments.indices.compactMap { i in
      if arguments[i].hasPrefix(flag + "=") { return String(arguments[i].dropFirst(flag.count + 1)) }
      return arguments[i] == flag && i + 1 < arguments.count ? arguments[i + 1] : nil
    }
  }
}
