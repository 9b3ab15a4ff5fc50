import Foundation

/// An image that could not be decoded, and why.
public struct DamagedImage: Sendable, Hashable {
  /// Where the file lies.
  public let path: String
  /// What is wrong with it, in words.
  public let reason: String
}

/// Encoded pictures in the folders of their classes: their names, and what was found wrong with them.
///
/// Names are kept as the system's bytes, which need not be UTF-8.
public final class ImageFiles: @unchecked Sendable {
  // Unchecked, because `found` is only touched under `lock`.

  /// The folder that all names are relative to.
  public let folder: String
  /// Every name, ended by a zero byte.
  let names: [UInt8]
  /// Where each starts in `names`.
  private let starts: [Int]
  private let lock = NSLock()
  private var found: [UInt32: String] = [:]

  /// Number of files.
  public var count: Int { starts.count }

  init(folder: String, names: [UInt8], starts: [Int]) {
    self.folder = folder
    self.names = names
    self.starts = starts
  }

  /// A file's path, for people: bytes that are not UTF-8 are replaced.
  public func path(_ number: UInt32) -> String {
    let name = names[starts[Int(number)]...].prefix { $0 != 0 }
    return folder + "/" + String(decoding: name, as: UTF8.self)
  }

  /// Calls `body` with a file's path as the system takes it.
  func withSystemPath<R>(_ number: UInt32, _ body: (UnsafePointer<CChar>) throws -> R) rethrows -> R {
    var path = Array(folder.utf8) + [UInt8(ascii: "/")]
    path += names[starts[Int(number)]...].prefix { $0 != 0 }
    path.append(0)
    return try path.withUnsafeBytes { bytes in
      try bytes.withMemoryRebound(to: CChar.self) { try body($0.baseAddress!) }
    }
  }

  /// Bytes of memory that the names take.
  var bytesInMemory: Int { names.count + 8 * starts.count }
}

extension ImageFiles {
  /// Notes that a file cannot be decoded; noting it again changes nothing.
  func note(_ number: UInt32, reason: String) {
    lock.withLock { found[number] = found[number] ?? reason }
  }

  /// The files that could not be decoded until now, in order.
  public var damaged: [DamagedImage] {
    lock.withLock { found }.sorted { $0.key < $1.key }.map { DamagedImage(path: path($0.key), reason: $0.value) }
  }
}
