/// A protobuf message of known length, some of whose bytes are passed on from where they lie instead of being held.
///
/// Source: the encoding at protobuf.dev/programming-guides/encoding; fields may stand in any order.
struct StreamedMessage {
  typealias Sink = SafetensorsWriter.Entry.Sink

  private enum Part {
    case bytes([UInt8])
    case streamed((Sink) throws -> Void)
  }

  private var parts: [Part] = []
  /// Bytes of the message.
  private(set) var count = 0

  /// - Parameter bytes: fields that are serialized already.
  init(_ bytes: [UInt8] = []) {
    parts = [.bytes(bytes)]
    count = bytes.count
  }

  /// Adds a field that holds another message.
  mutating func append(field: Int, _ message: StreamedMessage) {
    appendHead(field: field, count: message.count)
    parts += message.parts
    count += message.count
  }

  /// Adds a field of `count` bytes, which `write` passes on from the first to the last.
  mutating func append(field: Int, count: Int, _ write: @escaping (Sink) throws -> Void) {
    appendHead(field: field, count: count)
    parts.append(.streamed(write))
    self.count += count
  }

  func write(to sink: Sink) throws {
    for part in parts {
      switch part {
      case .bytes(let bytes): try bytes.withUnsafeBytes { try sink($0) }
      case .streamed(let write): try write(sink)
      }
    }
  }

  /// A field's number, its kind (2: bytes with their length before them) and its length.
  private mutating func appendHead(field: Int, count length: Int) {
    let head = Self.varint(UInt64(field) << 3 | 2) + Self.varint(UInt64(length))
    parts.append(.bytes(head))
    count += head.count
  }

  /// Seven bits a byte, the lowest first; all but the last have the highest bit set.
  private static func varint(_ number: UInt64) -> [UInt8] {
    var (rest, bytes) = (number, [UInt8]())
    while rest > 0x7f {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }
}
