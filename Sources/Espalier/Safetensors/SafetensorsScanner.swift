import EspalierCore

/// A strict scanner of the JSON that safetensors headers are made of: objects, arrays, strings, whole numbers.
///
/// Knows tokens only; the grammar above it nests three deep, so that no input can exhaust the stack.
/// Source: RFC 8259; stricter in that numbers have neither sign, fraction nor exponent.
struct SafetensorsScanner {
  private let path: String
  private let bytes: [UInt8]
  private var position = 0

  init(path: String, bytes: [UInt8]) {
    self.path = path
    self.bytes = bytes
  }

  /// `problem` at the byte about to be scanned.
  func failure(_ problem: String) -> EspalierError {
    .input("\(path): header byte \(position): \(problem); the file is damaged or no safetensors file, get it again")
  }

  /// Scans `{ "key": value, ... }`; `member` scans each value, given its key.
  mutating func scanObject(_ member: (inout Self, String) throws -> Void) throws {
    try expect("{")
    if skip("}") { return }
    repeat {
      let key = try scanString()
      try expect(":")
      try member(&self, key)
    } while skip(",")
    try expect("}", or: ",")
  }

  /// Scans `[number, ...]`.
  mutating func scanIntegers() throws -> [Int] {
    var integers: [Int] = []
    try expect("[")
    if skip("]") { return integers }
    repeat { integers.append(try scanInteger()) } while skip(",")
    try expect("]", or: ",")
    return integers
  }

  /// Scans what may follow the last token: white space only.
  mutating func scanEnd() throws {
    skipWhitespace()
    guard position == bytes.count else { throw failure("expected padding up to byte \(bytes.count), found \(found)") }
  }

  /// Scans a string, its escapes resolved.
  mutating func scanString() throws -> String {
    try expect("\"")
    let start = position
    var text: [UInt8] = []
    while let byte = peek, byte != UInt8(ascii: "\"") {
      guard byte >= 0x20 else { throw failure("expected a character of a string, found \(found)") }
      if byte == UInt8(ascii: "\\") {
        try scanEscape(into: &text)
      } else {
        text.append(byte)
        position += 1
      }
    }
    guard peek != nil else { throw failure("expected the string's closing quote, found \(found)") }
    guard let string = String(validating: text, as: UTF8.self) else {
      position = start
      throw failure("expected a string in UTF-8, found invalid bytes in it")
    }
    position += 1
    return string
  }
}

extension SafetensorsScanner {
  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// The byte about to be scanned, for an error's message.
  private var found: String {
    guard let byte = peek else { return "the header's end" }
    return (0x21..<0x7f).contains(byte)
      ? "'\(UnicodeScalar(byte))'" : "byte 0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16))"
  }

  private mutating func skipWhitespace() {
    while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
  }

  private mutating func skip(_ token: UnicodeScalar) -> Bool {
    skipWhitespace()
    guard peek == UInt8(ascii: token) else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ token: UnicodeScalar, or other: UnicodeScalar? = nil) throws {
    guard skip(token) else {
      throw failure("expected '\(token)'\(other.map { " or '\($0)'" } ?? ""), found \(found)")
    }
  }

  /// Zero or more, without sign, leading zeros, fraction or exponent.
  private mutating func scanInteger() throws -> Int {
    skipWhitespace()
    let start = position
    var value = 0
    while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(Int(byte - UInt8(ascii: "0")))
      guard !overflow, !carry else {
        position = start
        throw failure("expected a number up to \(Int.max), found a larger one")
      }
      value = sum
      position += 1
    }
    let isEnded = [",", "]", " ", "\n", "\r", "\t"].contains { (end: UnicodeScalar) in peek == UInt8(ascii: end) }
    guard position > start, isEnded || peek == nil else {
      throw failure("expected a whole number without a sign, found \(found)")
    }
    guard bytes[start] != UInt8(ascii: "0") || position == start + 1 else {
      position = start
      throw failure("expected a number without leading zeros, found '0'")
    }
    return value
  }

  private mutating func scanEscape(into text: inout [UInt8]) throws {
    position += 1
    guard let byte = peek else { throw failure("expected an escaped character, found \(found)") }
    switch UnicodeScalar(byte) {
    case "\"", "\\", "/": text.append(byte)
    case "b": text.append(0x08)
    case "f": text.append(0x0c)
    case "n": text.append(0x0a)
    case "r": text.append(0x0d)
    case "t": text.append(0x09)
    case "u":
      position += 1
      text += Array(String(Character(try scanUnicodeEscape())).utf8)
      return
    default: throw failure("expected one of \"\\/bfnrtu after a backslash, found \(found)")
    }
    position += 1
  }

  /// The digits of `\uXXXX`, and the second half `\uXXXX` of a surrogate pair.
  private mutating func scanUnicodeEscape() throws -> UnicodeScalar {
    let start = position
    let first = try scanHexadecimal()
    if let scalar = UnicodeScalar(first) { return scalar }
    let isHigh = (0xd800..<0xdc00).contains(first)
    if isHigh, peek == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") {
      position += 2
      let second = try scanHexadecimal()
      if (0xdc00..<0xe000).contains(second) {
        let value = 0x10000 + (UInt32(first - 0xd800) << 10) + UInt32(second - 0xdc00)
        if let scalar = UnicodeScalar(value) { return scalar }
      }
    }
    position = start
    throw failure("expected a character or a pair of surrogates, found half a pair")
  }

  private mutating func scanHexadecimal() throws -> UInt16 {
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let byte = peek, let digit = Character(UnicodeScalar(byte)).hexDigitValue, byte < 0x80 else {
        throw failure("expected a hexadecimal digit, found \(found)")
      }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }
}
