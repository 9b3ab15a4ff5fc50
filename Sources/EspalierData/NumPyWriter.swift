import EspalierCore

extension NumPyFile {
  /// Takes the next bytes of an array; they need to live only for the call.
  public typealias Sink = (UnsafeRawBufferPointer) throws -> Void

  /// Writes an array, streamed from where it lies, and returns when its bytes are on disk.
  ///
  /// The file appears, or takes the place of an older one, when it is whole; after an error nothing has changed.
  ///
  /// - Parameters:
  ///   - type: the elements' type; they are little-endian and in C order.
  ///   - shape: empty for a scalar; dimensions may be zero.
  ///   - path: the file's name.
  ///   - body: passes the array's bytes to the sink, from the first to the last and in as many pieces as it likes.
  /// - Throws: `EspalierError.write` if the file cannot be created or written; `EspalierError.usage` for a shape that is none, and if
  ///   `body` passed more or fewer bytes than it has; what `body` throws.
  public static func write(
    _ type: ElementType, shape: [Int], to path: String, _ body: (_ sink: Sink) throws -> Void
  ) throws {
    var expected = type.byteWidth
    for dimension in shape {
      let (product, overflow) = expected.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { throw EspalierError.usage("\(path): no array has the shape \(shape)") }
      expected = product
    }
    let output = try OutputFile(path: path)
    let header = NumPyHeader.bytes(type: type.rawValue, shape: shape)
    try output.write(header)
    try body { try output.write($0) }
    let written = output.count - header.count
    guard written == expected else {
      throw EspalierError.usage("\(path): expected \(expected) bytes for \(type.name) \(shape), found \(written)")
    }
    try output.finish()
  }

  /// The bytes that stand before an array's data; `type` as in NumPy's headers.
  package static func headerBytes(type: String, shape: [Int]) -> [UInt8] { NumPyHeader.bytes(type: type, shape: shape) }
}
