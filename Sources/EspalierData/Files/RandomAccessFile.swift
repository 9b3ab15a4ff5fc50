import EspalierCore
import Glibc

/// A regular file that is read at any place, by any thread.
package final class RandomAccessFile: Sendable {
  package let path: String
  /// Bytes, when it was opened.
  package let size: Int
  private let descriptor: Int32

  /// - Throws: `EspalierError.input` if the file is absent, unreadable or no regular file.
  package init(path: String) throws {
    self.path = path
    // Not blocking, so that a named pipe is refused below instead of waited for.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw Self.failure(path, "cannot be opened: \(String(cString: strerror(errno))); check the path")
    }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw Self.failure(path, "expected a regular file, found a folder or a device; check the path")
    }
    size = Int(status.st_size)
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  package func failure(_ problem: String) -> EspalierError { Self.failure(path, problem) }

  private static func failure(_ path: String, _ problem: String) -> EspalierError { .input("\(path): \(problem)") }

  /// Fills `buffer` from byte `offset` of the file on.
  package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
      if count < 0 {
        guard errno == EINTR else {
          throw failure("cannot be read: \(String(cString: strerror(errno))); check the disk, or get the file again")
        }
      } else if count == 0 {
        throw failure("expected \(size) bytes as when it was opened, found \(offset + done); was it overwritten?")
      } else {
        done += count
      }
    }
  }
}
