import EspalierCore
import Foundation

/// A file that is written from front to back and that appears under its name whole or not at all.
///
/// Until `finish` it has a temporary name in the same folder; then it takes the place of a file that is there. What is no regular
/// file (a pipe, /dev/stdout) is written in place. Short pieces are gathered, long ones go to the file directly.
package final class OutputFile {
  /// What the temporary names begin with.
  package static let temporaryPrefix = ".espalier-unfinished-"
  private static let capacity = 1 << 16

  private let path: String
  /// The file that takes the bytes, and the name that it gets; equal where it is written in place.
  private let (temporary, target): (String, String)
  private var descriptor: Int32
  private let gathered: UnsafeMutableRawBufferPointer
  private var used = 0
  /// Bytes written so far.
  package private(set) var count = 0

  /// - Throws: `EspalierError.write`, as all of this type's functions.
  package init(path: String) throws {
    self.path = path
    gathered = .allocate(byteCount: Self.capacity, alignment: 64)
    (temporary, target) = Self.places(for: path)
    let isNew = temporary != target
    descriptor = open(temporary, O_WRONLY | O_CREAT | O_CLOEXEC | (isNew ? O_EXCL : O_TRUNC), 0o666)
    if descriptor < 0 { throw failure("created") }
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      if temporary != target { unlink(temporary) }
    }
    gathered.deallocate()
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard bytes.count > 0 else { return }
    count += bytes.count
    if used + bytes.count > Self.capacity { try flush() }
    if bytes.count >= Self.capacity {
      try writeThrough(bytes)
    } else {
      UnsafeMutableRawBufferPointer(rebasing: gathered[used...]).copyMemory(from: bytes)
      used += bytes.count
    }
  }

  package func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

  /// Returns when all bytes are on disk, under the file's own name; nothing may be written after.
  package func finish() throws {
    try flush()
    // Pipes and terminals have nothing to synchronize.
    guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else { throw failure("synchronized") }
    guard temporary == target || rename(temporary, target) == 0 else { throw failure("put in place") }
    let result = close(descriptor)
    descriptor = -1
    // Linux has closed the descriptor even where a signal interrupted it.
    guard result == 0 || errno == EINTR else { throw failure("closed") }
  }

  /// A file beside `path`, or beside the file that it links to; `path` itself where it is something else than a file.
  private static func places(for path: String) -> (temporary: String, target: String) {
    var status = stat()
    var target = path
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFREG else { return (path, path) }
      if let real = realpath(path, nil) {
        target = String(cString: real)
        free(real)
      }
    }
    let folder = (target as NSString).deletingLastPathComponent
    let name = Self.temporaryPrefix + UUID().uuidString
    return (folder.isEmpty ? name : (folder as NSString).appendingPathComponent(name), target)
  }

  private func flush() throws {
    let bytes = UnsafeRawBufferPointer(rebasing: gathered[..<used])
    used = 0
    try writeThrough(bytes)
  }

  private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
      if count < 0 {
        guard errno == EINTR else { throw failure("written") }
      } else {
        rest = rest.dropFirst(count)
      }
    }
  }

  /// Names the reason that `errno` holds.
  private func failure(_ verb: String) -> EspalierError {
    let reason = String(cString: strerror(errno))
    return .write("\(path): cannot be \(verb): \(reason); check the folder, its permissions and the disk's free space")
  }
}
