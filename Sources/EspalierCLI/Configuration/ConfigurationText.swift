import Foundation
import Yams

extension RunConfiguration {
  /// The text of a configuration file that is read back as this configuration, every number to the bit.
  ///
  /// Yams' own encoder rounds numbers to 15 digits. JSON's does not, and JSON is YAML.
  func yaml() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    let values = try Yams.compose(yaml: String(decoding: encoder.encode(self), as: UTF8.self))?.mapping ?? [:]
    let lines = CodingKeys.allCases.compactMap { key in
      values[key.rawValue].map { (Node(key.rawValue), Self.plain($0)) }
    }
    return try Yams.serialize(node: Node(lines, .implicit, .block))
  }

  /// In block style, and without quotes where a word needs none.
  private static func plain(_ node: Node) -> Node {
    if let sequence = node.sequence { return Node(sequence.map(plain), .implicit, .any) }
    guard let scalar = node.scalar, scalar.style == .doubleQuoted else { return node }
    return .scalar(scalar.string.represented())
  }
}
