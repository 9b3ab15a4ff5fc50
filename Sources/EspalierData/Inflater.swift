import EspZlib
import EspalierCore

/// Inflates one gzip member, whose checksum and length zlib verifies (RFC 1952).
final class Inflater {
  private let stream: UnsafeMutablePointer<z_stream>  // at a fixed address, as zlib demands
  private let input: UnsafeMutableRawBufferPointer
  private(set) var isAtEnd = false

  init() throws {
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    input = .allocate(byteCount: 1 << 16, alignment: 16)
    let gzipOnly: Int32 = 15 + 16
    let status = inflateInit2_(stream, gzipOnly, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { throw EspalierError.input("zlib cannot start (status \(status))") }
  }

  deinit {
    inflateEnd(stream)
    input.deallocate()
    stream.deallocate()
  }

  /// Compressed bytes that were read beyond the member's end.
  var unusedInput: Int { Int(stream.pointee.avail_in) }

  /// Inflates into `output` until it is full or the member ends, and returns the number of bytes written.
  ///
  /// - Parameter refill: reads more compressed bytes; returns 0 at the end of the file.
  /// - Throws: `EspalierError.input` if the data are damaged or end too early; what `refill` throws.
  func read(into output: UnsafeMutableRawBufferPointer, refill: (UnsafeMutableRawBufferPointer) throws -> Int) throws
    -> Int
  {
    var written = 0
    while written < output.count && !isAtEnd {
      if stream.pointee.avail_in == 0 {
        let count = try refill(input)
        guard count > 0 else { throw EspalierError.input("the gzip data end too early: the file is truncated") }
        stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = UInt32(count)
      }
      let room = min(output.count - written, 1 << 30)
      stream.pointee.next_out = output.baseAddress.map { $0.assumingMemoryBound(to: UInt8.self) + written }
      stream.pointee.avail_out = UInt32(room)
      let status = inflate(stream, Z_NO_FLUSH)
      written += room - Int(stream.pointee.avail_out)
      isAtEnd = status == Z_STREAM_END
      guard status == Z_OK || isAtEnd || status == Z_BUF_ERROR && stream.pointee.avail_in == 0 else {
        let reason = stream.pointee.msg.map { String(cString: $0) } ?? "status \(status)"
        throw EspalierError.input("the gzip data are damaged (\(reason))")
      }
    }
    return written
  }
}
