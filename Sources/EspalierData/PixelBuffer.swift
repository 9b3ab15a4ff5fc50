import EspalierCore
import Glibc

/// Bytes of a data set in one allocation that never moves and never changes, so that it can be shared and handed to
/// kernels by pointer.
public final class PixelBuffer: @unchecked Sendable {
  // Unchecked, because nobody writes after `init` has returned.

  private let bytes: UnsafeBufferPointer<UInt8>

  /// Allocates `count` bytes and lets `fill` write every one of them.
  ///
  /// Memory that `fill` has not reached yet is not resident, so a reader that stops early has cost nothing.
  /// - Throws: `EspalierError.input` if there is no such amount of memory; what `fill` throws.
  public init(count: Int, filledBy fill: (UnsafeMutableBufferPointer<UInt8>) throws -> Void) throws {
    guard let memory = malloc(Swift.max(count, 1)) else {
      throw EspalierError.input("cannot allocate \(count) bytes for a data set; use a smaller one or more memory")
    }
    let buffer = UnsafeMutableBufferPointer(start: memory.assumingMemoryBound(to: UInt8.self), count: count)
    bytes = UnsafeBufferPointer(buffer)
    try fill(buffer)
  }

  deinit { free(UnsafeMutableRawPointer(mutating: bytes.baseAddress)) }

  /// Calls `body` with the bytes, which are valid until it returns.
  public func withUnsafeBufferPointer<Result>(_ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows -> Result
  {
    try withExtendedLifetime(self) { try body(bytes) }
  }
}

extension PixelBuffer {
  /// Calls `body` with the bytes taken as numbers of 32 bits, which are valid until it returns.
  public func withUnsafeFloats<Result>(_ body: (UnsafeBufferPointer<Float>) throws -> Result) rethrows -> Result {
    try withUnsafeBufferPointer { try $0.withMemoryRebound(to: Float.self, body) }
  }
}

extension PixelBuffer: RandomAccessCollection {
  public var startIndex: Int { 0 }
  public var endIndex: Int { bytes.count }

  /// Byte number `index`.
  ///
  /// - Precondition: 0 <= index < count.
  public subscript(index: Int) -> UInt8 {
    precondition(index >= 0 && index < bytes.count)
    return withExtendedLifetime(self) { bytes[index] }
  }
}
