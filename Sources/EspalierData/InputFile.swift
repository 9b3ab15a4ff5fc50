import EspalierCore
import Glibc

/// A regular file that is read once from front to back, inflated on the way where it is gzip.
final class InputFile {
  /// Deflate cannot compress by more than this factor (RFC 1951: 258 bytes in 2 bits).
  private static let maximumCompression = 1032

  let path: String
  /// Bytes on disk.
  let size: Int
  private let descriptor: Int32
  private let inflater: Inflater?

  /// - Throws: `EspalierError.input` if the file is absent, unreadable, empty or no regular file.
  init(path: String) throws {
    self.path = path
    // Not blocking, so that a named pipe is refused below instead of waited for.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure(path, "cannot be opened: \(String(cString: strerror(errno)))") }
    do {
      var status = stat()
      guard fstat(descriptor, &status) == 0 else {
        throw Self.failure(path, "cannot be examined: \(String(cString: strerror(errno)))")
      }
      guard status.st_mode & S_IFMT == S_IFREG else {
        let kind = status.st_mode & S_IFMT == S_IFDIR ? "a folder" : "no regular file"
        throw Self.failure(path, "expected a file, found \(kind)")
      }
      size = Int(status.st_size)
      guard size > 0 else { throw Self.failure(path, "the file is empty; get it again") }
      inflater = Self.hasGzipMagic(descriptor) ? try Inflater() : nil
    } catch {
      close(descriptor)
      throw error
    }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  var isCompressed: Bool { inflater != nil }

  /// Throws where the file cannot hold exactly `length` bytes; asks the file's size and gzip's trailer, before anything
  /// of that size is allocated.
  func requireLength(_ length: Int) throws {
    guard isCompressed else {
      guard length == size else {
        throw failure("its header asks for \(length) bytes in all, found \(size); get it again")
      }
      return
    }
    let (limit, overflow) = size.multipliedReportingOverflow(by: Self.maximumCompression)
    let told = gzipTrailerLength()
    guard overflow || length <= limit, told == UInt32(truncatingIfNeeded: length) else {
      throw failure(
        "its header asks for \(length) bytes in all, the end of the gzip data tells \(told) (\(size) compressed): "
          + "truncated or damaged; get it again")
    }
  }

  /// Reads exactly as many bytes as fit in `buffer`.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws {
    let count = try readUpTo(buffer)
    guard count == buffer.count else {
      throw failure("ends \(buffer.count - count) bytes too early; get it again")
    }
  }

  /// Throws unless every byte has been read; for gzip this also verifies checksum and length.
  func requireEnd() throws {
    try withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { byte in
      guard try readUpTo(byte) == 0 else { throw failure("holds more data than its header tells; get it again") }
      if let inflater {
        let rest = try inflater.unusedInput + readRaw(byte)
        guard rest == 0 else { throw failure("other bytes follow the gzip data; get it again") }
      }
    }
  }

  func failure(_ problem: String) -> EspalierError { Self.failure(path, problem) }
}

extension InputFile {
  private static func failure(_ path: String, _ problem: String) -> EspalierError { .input("\(path): \(problem)") }

  private static func hasGzipMagic(_ descriptor: Int32) -> Bool {
    var magic: (UInt8, UInt8) = (0, 0)
    return pread(descriptor, &magic, 2, 0) == 2 && magic == (0x1f, 0x8b)
  }

  /// The last four bytes: the inflated length modulo 2^32, little-endian.
  private func gzipTrailerLength() -> UInt32 {
    var length: UInt32 = 0
    guard size >= 4, pread(descriptor, &length, 4, off_t(size - 4)) == 4 else { return 0 }
    return UInt32(littleEndian: length)
  }

  /// Fewer bytes than asked for mean the end of the contents.
  private func readUpTo(_ buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    if let inflater {
      do {
        return try inflater.read(into: buffer) { try readRaw($0) }
      } catch let error as EspalierError {
        throw error.message.hasPrefix(path) ? error : failure(error.message)
      }
    }
    var count = 0
    while count < buffer.count {
      let more = try readRaw(UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
      guard more > 0 else { break }
      count += more
    }
    return count
  }

  private func readRaw(_ buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    while true {
      let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      if count >= 0 { return count }
      guard errno == EINTR else { throw failure("cannot be read: \(String(cString: strerror(errno)))") }
    }
  }
}
