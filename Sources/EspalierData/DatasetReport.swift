/// What there is of a data set on this machine.
public struct DatasetReport: Sendable {
  /// By what was found where the set is a user's own and whole.
  public let description: DatasetDescription

  /// The folders in which it was looked for, in order.
  public let folders: [String]

  /// One entry a file; empty where the data set is synthetic.
  public let files: [File]

  /// Whether it can be loaded.
  public var isWhole: Bool { files.allSatisfy(\.isWhole) }

  /// How to get it: one line.
  public var hint: String { description.hint }

  /// What there is of one file, or of one folder of classes.
  public struct File: Sendable {
    /// The name under which it is published, without `.gz`.
    public let name: String

    /// Where it lies, or nil.
    public let path: String?

    /// Its size on disk in bytes; nil for a folder and where it is absent.
    public let bytes: Int?

    /// Images that it holds, where that could be found out.
    public var images: Int?

    /// Why it cannot be used (absent, or damaged and how), or nil.
    public let problem: String?

    /// Whether header, count, length and, for gzip, checksum are right.
    public var isWhole: Bool { problem == nil }
  }
}
