import EspalierCore
import Foundation

/// Values that are separated by commas.
enum ValueList {
  /// - Throws: `EspalierError.usage` for what is no such list.
  static func parse<T>(
    _ text: String, flag: String, mayBeEmpty: Bool = false, like example: String = "numbers such as 1,2",
    _ parse: (String) -> T?
  ) throws -> [T] {
    if text.isEmpty, mayBeEmpty { return [] }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let value = parse(part.trimmingCharacters(in: .whitespaces)) else {
        throw EspalierError.usage("\(flag): '\(text)' is not a list of \(example)")
      }
      return value
    }
  }
}
