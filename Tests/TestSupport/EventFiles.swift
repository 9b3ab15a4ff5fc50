import Foundation

/// What TensorBoard sees in a folder of event files: read byte by byte, with nothing of the program's own.
///
/// A last record that is not whole ends its file, as it does for TensorBoard.
public struct EventFiles {
  public struct Event: Equatable {
    public var wallTime = 0.0
    public var step = 0
    public var version: String?
    /// Whether it is a session's start.
    public var isStart = false
    public var scalars: [String: Float] = [:]
  }

  public struct Damaged: Error {
    public let place: String
  }

  public private(set) var names: [String]
  /// All files' events, file after file.
  public private(set) var events: [Event] = []

  public init(folder: String) throws {
    names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    for name in names {
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)))
      var start = 0
      while start + 12 <= bytes.count {
        let length = Int(Self.number(bytes[start..<start + 8]))
        let end = start + 16 + length
        guard end <= bytes.count else { break }
        let payload = bytes[start + 12..<end - 4]
        guard Self.number(bytes[start + 8..<start + 12]) == Self.masked(bytes[start..<start + 8]),
          Self.number(bytes[end - 4..<end]) == Self.masked(payload)
        else { throw Damaged(place: "\(name), byte \(start)") }
        events.append(try Self.event(payload))
        start = end
      }
    }
  }

  /// A curve's points in the order of the files: a session's start takes back what was said of its step and later ones.
  public func points(of tag: String) -> [(step: Int, value: Float)] {
    events.reduce(into: []) { points, event in
      if event.isStart { points.removeAll { $0.step >= event.step } }
      if let value = event.scalars[tag] { points.append((event.step, value)) }
    }
  }

  public var tags: Set<String> { Set(events.flatMap(\.scalars.keys)) }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// CRC-32C bit by bit, turned right by 15 bits, plus a constant.
  private static func masked(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    var register: UInt32 = 0xffff_ffff
    for byte in bytes {
      register ^= UInt32(byte)
      for _ in 0..<8 { register = register & 1 == 1 ? register >> 1 ^ 0x82f6_3b78 : register >> 1 }
    }
    register = ~register
    return UInt64(((register >> 15) | (register << 17)) &+ 0xa282_ead8)
  }

  private enum Field {
    case number(UInt64)
    case bytes(ArraySlice<UInt8>)
  }

  /// A message's fields.
  private static func fields(_ bytes: ArraySlice<UInt8>) throws -> [(number: Int, value: Field)] {
    var rest = bytes
    func varint() throws -> UInt64 {
      var (value, shift) = (UInt64(0), UInt64(0))
      while let byte = rest.popFirst() {
        value |= UInt64(byte & 0x7f) << shift
        guard byte & 0x80 != 0 else { return value }
        shift += 7
      }
      throw Damaged(place: "a number")
    }
    func take(_ count: Int) throws -> ArraySlice<UInt8> {
      guard count <= rest.count else { throw Damaged(place: "a field") }
      defer { rest = rest.dropFirst(count) }
      return rest.prefix(count)
    }
    var result: [(number: Int, value: Field)] = []
    while !rest.isEmpty {
      let key = try varint()
      let value: Field =
        switch key & 7 {
        case 0: .number(try varint())
        case 1: .number(number(try take(8)))
        case 2: .bytes(try take(Int(try varint())))
        case 5: .number(number(try take(4)))
        default: throw Damaged(place: "a field's kind")
        }
      result.append((Int(key >> 3), value))
    }
    return result
  }

  private static func event(_ bytes: ArraySlice<UInt8>) throws -> Event {
    var event = Event()
    for field in try fields(bytes) {
      switch (field.number, field.value) {
      case (1, .number(let bits)): event.wallTime = Double(bitPattern: bits)
      case (2, .number(let step)): event.step = Int(step)
      case (3, .bytes(let text)): event.version = String(decoding: text, as: UTF8.self)
      case (5, .bytes(let summary)):
        for case (1, .bytes(let value)) in try fields(summary) {
          let (tag, number) = try scalar(value)
          event.scalars[tag] = number
        }
      case (7, .bytes(let session)):
        if case (1, .number(1))? = try fields(session).first { event.isStart = true }
      default: throw Damaged(place: "field \(field.number)")
      }
    }
    return event
  }

  private static func scalar(_ bytes: ArraySlice<UInt8>) throws -> (String, Float) {
    // A number of zero may be left out.
    var (tag, number) = ("", Float(0))
    for field in try fields(bytes) {
      switch (field.number, field.value) {
      case (1, .bytes(let text)): tag = String(decoding: text, as: UTF8.self)
      case (2, .number(let bits)): number = Float(bitPattern: UInt32(bits))
      default: throw Damaged(place: "a scalar's field \(field.number)")
      }
    }
    return (tag, number)
  }
}
