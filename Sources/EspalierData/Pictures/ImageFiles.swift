import Foundation
import Glibc

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

extension ImageFiles {
  /// Pictures that `forEachSample` looks into, and how far.
  private static let sampled = 1000
  private static let sampledBytes = 4096

  /// Shows size (8 bytes) and first bytes of a thousand pictures at most, evenly spread; of those that cannot be read, a size of -1.
  ///
  /// Cheap beside an epoch, also where there are a million, and independent of dates, which copies do not keep. What changes in other
  /// pictures, or further inside, it does not see.
  func forEachSample(_ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
    let taken = min(count, Self.sampled)
    var bytes = [UInt8](repeating: 0, count: Self.sampledBytes)
    for index in 0..<taken {
      let (size, read) = withSystemPath(UInt32(index * count / taken)) { Self.beginning(of: $0, into: &bytes) }
      try withUnsafeBytes(of: Int64(size).littleEndian) { try body($0) }
      try bytes.withUnsafeBytes { try body(UnsafeRawBufferPointer(rebasing: $0[..<read])) }
    }
  }

  /// A file's size, and how many of its first bytes were read; -1 and 0 where that failed.
  private static func beginning(of path: UnsafePointer<CChar>, into bytes: inout [UInt8]) -> (size: Int, read: Int) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return (-1, 0) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return (-1, 0) }
    let room = bytes.count
    let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, room, 0) }
    return count < 0 ? (-1, 0) : (Int(status.st_size), count)
  }
}
