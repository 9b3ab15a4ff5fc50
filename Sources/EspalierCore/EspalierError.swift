/// The one error that Espalier throws: what went wrong, in words that a user can act on.
///
/// `message` is a single line that names the file or value, what was expected, what was found, and what to do.
public struct EspalierError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What kind of thing failed; decides the command line's exit code.
  public enum Kind: Sendable, Equatable {
    /// A value that the caller chose is out of range or contradicts another.
    case usage
    /// Input is absent, damaged or of the wrong kind.
    case input
    /// A loss or a gradient is not finite.
    case diverged
    /// A file or folder could not be written.
    case write
    /// An invariant of the library itself does not hold.
    case invariant
  }

  /// What kind of thing failed.
  public let kind: Kind
  /// One line for the user.
  public let message: String

  /// An error of the given kind.
  ///
  /// What `message` quotes from files and arguments may hold anything; line ends and other control characters become
  /// spaces, so that it stays a single line.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message =
      message.unicodeScalars.contains(where: Self.breaksLines)
      ? String(String.UnicodeScalarView(message.unicodeScalars.map { Self.breaksLines($0) ? " " : $0 })) : message
  }

  private static func breaksLines(_ scalar: Unicode.Scalar) -> Bool {
    [.control, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
  }

  public var description: String { message }

  /// A bad value of the caller's.
  public static func usage(_ message: String) -> Self { Self(.usage, message) }
  /// Bad input.
  public static func input(_ message: String) -> Self { Self(.input, message) }
  /// A number that is not finite.
  public static func diverged(_ message: String) -> Self { Self(.diverged, message) }
  /// A failed write.
  public static func write(_ message: String) -> Self { Self(.write, message) }
  /// A bug of the library, or of an updater or layer that breaks its contract.
  public static func invariant(_ message: String) -> Self { Self(.invariant, message) }
}

extension EspalierError {
  /// Of `candidates`, the one nearest to `name` by edit distance, if it is near enough to be what was meant; else one that begins with it.
  public static func nearest(to name: String, among candidates: [String]) -> String? {
    let best = candidates.map { ($0, editDistance(name.lowercased(), $0.lowercased())) }.min { $0.1 < $1.1 }
    if let (candidate, distance) = best, distance <= max(2, candidate.count / 3) { return candidate }
    return name.count < 3 ? nil : candidates.first { $0.hasPrefix(name.lowercased()) }
  }

  /// Levenshtein distance, in O(a.count * b.count).
  private static func editDistance(_ a: String, _ b: String) -> Int {
    let b = Array(b)
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let substituted = diagonal + (x == y ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[b.count]
  }
}
