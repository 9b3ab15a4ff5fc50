import EspalierCore
import Glibc

/// A file that is written from front to back; short pieces are gathered, long ones go to the file directly.
final class SafetensorsOutput {
  private static let capacity = 1 << 16

  private let path: String
  private var descriptor: Int32
  private let gathered: UnsafeMutableRawBufferPointer
  private var used = 0

  /// Creates the file, or empties the one that is there.
  ///
  /// - Throws: `EspalierError.write`, as all of this type's functions.
  init(path: String) throws {
    self.path = path
    gathered = .allocate(byteCount: Self.capacity, alignment: 64)
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw failure("created") }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    gathered.deallocate()
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws {
    guard bytes.count > 0 else { return }
    if used + bytes.count > Self.capacity { try flush() }
    if bytes.count >= Self.capacity {
      try writeThrough(bytes)
    } else {
      UnsafeMutableRawBufferPointer(rebasing: gathered[used...]).copyMemory(from: bytes)
      used += bytes.count
    }
  }

  /// Returns when all bytes are on disk; nothing may be written after.
  func finish() throws {
    try flush()
    guard fsync(descriptor) == 0 else { throw failure("synchronized") }
    let result = close(descriptor)
    descriptor = -1
    // Linux has closed the descriptor even where a signal interrupted it.
    guard result == 0 || errno == EINTR else { throw failure("closed") }
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
