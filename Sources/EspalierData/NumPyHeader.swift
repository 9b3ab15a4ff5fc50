import EspalierCore

/// The dictionary at the head of a NumPy file: `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
struct NumPyHeader {
  static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  /// NumPy itself refuses longer ones unless told to trust the file.
  static let maximumLength = 10_000

  let type: String
  let isColumnMajor: Bool
  let shape: [Int]

  /// - Throws: `EspalierError.input` unless `text` is exactly such a dictionary, with each key once and in any order.
  init(_ text: [UInt8], of file: RandomAccessFile) throws {
    var scanner = NumPyHeaderScanner(text: text, file: file)
    var type: String?
    var isColumnMajor: Bool?
    var shape: [Int]?
    try scanner.expect("{")
    while !scanner.skip("}") {
      let key = try scanner.quoted()
      try scanner.expect(":")
      switch key {
      case "descr" where type == nil: type = try scanner.quoted()
      case "fortran_order" where isColumnMajor == nil: isColumnMajor = try scanner.boolean()
      case "shape" where shape == nil: shape = try scanner.tuple()
      default: throw scanner.failure("the key '\(key.prefix(40))' once more or unknown")
      }
      guard scanner.skip(",") else {
        try scanner.expect("}")
        break
      }
    }
    try scanner.expectEnd()
    guard let type, let isColumnMajor, let shape else {
      throw scanner.failure("no 'descr', no 'fortran_order' or no 'shape'")
    }
    (self.type, self.isColumnMajor, self.shape) = (type, isColumnMajor, shape)
  }

  /// The bytes before an array's data, padded to a multiple of 64.
  static func bytes(type: String, shape: [Int]) -> [UInt8] {
    let sizes = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    let text = Array("{'descr': '\(type)', 'fortran_order': False, 'shape': (\(sizes)), }".utf8)
    let isLong = text.count + 11 + 64 > Int(UInt16.max)
    let head = isLong ? 12 : 10
    let length = (head + text.count + 1 + 63) / 64 * 64 - head
    let lengthBytes = (0..<head - 8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    let padding = [UInt8](repeating: UInt8(ascii: " "), count: length - text.count - 1)
    return magic + [isLong ? 2 : 1, 0] + lengthBytes + text + padding + [UInt8(ascii: "\n")]
  }
}

/// Reads the few forms of Python's literals that a header is made of.
private struct NumPyHeaderScanner {
  let text: [UInt8]
  let file: RandomAccessFile
  var position = 0

  init(text: [UInt8], file: RandomAccessFile) {
    self.text = text
    self.file = file
  }

  func failure(_ found: String) -> EspalierError {
    file.failure(
      "expected a header {'descr': ..., 'fortran_order': ..., 'shape': (...)}, found \(found) at its byte \(position); "
        + "damaged or of another kind, save it with numpy.save")
  }

  private mutating func skipSpaces() {
    while position < text.count, text[position] == UInt8(ascii: " ") || text[position] == UInt8(ascii: "\n") {
      position += 1
    }
  }

  mutating func skip(_ word: StaticString) -> Bool {
    skipSpaces()
    let bytes = word.withUTF8Buffer { Array($0) }
    guard text[position...].starts(with: bytes) else { return false }
    position += bytes.count
    return true
  }

  mutating func expect(_ word: StaticString) throws {
    guard skip(word) else { throw failure("something else than '\(word)'") }
  }

  mutating func expectEnd() throws {
    skipSpaces()
    guard position == text.count else { throw failure("more") }
  }

  /// A text in quotes of either kind, without escapes.
  mutating func quoted() throws -> String {
    skipSpaces()
    guard position < text.count, text[position] == UInt8(ascii: "'") || text[position] == UInt8(ascii: "\"") else {
      throw failure("no quoted text (a structured type is not read)")
    }
    guard let end = text[(position + 1)...].firstIndex(of: text[position]) else { throw failure("no closing quote") }
    let result = text[(position + 1)..<end]
    guard result.allSatisfy({ (0x20..<0x7f).contains($0) && $0 != UInt8(ascii: "\\") }) else {
      throw failure("characters that do not belong there")
    }
    position = end + 1
    return String(decoding: result, as: UTF8.self)
  }

  mutating func boolean() throws -> Bool {
    if skip("False") { return false }
    try expect("True")
    return true
  }

  /// Whole numbers from zero up in parentheses.
  mutating func tuple() throws -> [Int] {
    try expect("(")
    var numbers: [Int] = []
    while !skip(")") {
      numbers.append(try number())
      guard skip(",") else {
        guard numbers.count > 1 else { throw failure("a number in parentheses, which is no tuple,") }
        try expect(")")
        break
      }
    }
    return numbers
  }

  private mutating func number() throws -> Int {
    skipSpaces()
    let digits = text[position...].prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    guard let number = Int(String(decoding: digits, as: UTF8.self)) else { throw failure("no number below 2^63") }
    position += digits.count
    return number
  }
}
