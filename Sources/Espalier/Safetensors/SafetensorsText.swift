/// What the reader and the writer of safetensors headers share.
enum SafetensorsText {
  /// The key that holds a file's metadata, and so no tensor's name.
  static let metadataKey = "__metadata__"

  /// Bytes a header may have; the official library refuses longer ones.
  static let maximumHeaderLength = 100_000_000

  /// Appends `text` as a JSON string: quote, backslash and control characters escaped, all else as UTF-8.
  static func appendQuoted(_ text: some Sequence<Unicode.UTF8.CodeUnit>, to json: inout [UInt8]) {
    json.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): json += [UInt8(ascii: "\\"), byte]
      case 0x08: json += Array(#"\b"#.utf8)
      case 0x09: json += Array(#"\t"#.utf8)
      case 0x0a: json += Array(#"\n"#.utf8)
      case 0x0c: json += Array(#"\f"#.utf8)
      case 0x0d: json += Array(#"\r"#.utf8)
      case 0..<0x20:
        let digits = String(byte, radix: 16)
        json += Array((byte < 0x10 ? #"\u000"# : #"\u00"#).utf8) + Array(digits.utf8)
      default: json.append(byte)
      }
    }
    json.append(UInt8(ascii: "\""))
  }

  /// `name` in quotes for an error's single line: escaped, and shortened where it is long.
  static func quoted(_ name: String) -> String {
    let limit = 80
    var json: [UInt8] = []
    appendQuoted(String(name.unicodeScalars.prefix(limit)).utf8, to: &json)
    return String(decoding: json, as: UTF8.self) + (name.unicodeScalars.count > limit ? "..." : "")
  }

  /// Whether `a` comes before `b` by their UTF-8 bytes, as the official library sorts. (Swift's `<` normalizes.)
  static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
}
