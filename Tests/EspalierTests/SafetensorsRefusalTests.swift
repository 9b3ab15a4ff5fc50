import Espalier
import EspalierCore
import Foundation
import Testing

/// A header that must be refused, the data's length, and what the error must say.
struct SafetensorsRefusal: Sendable, CustomTestStringConvertible {
  let header: String
  let dataLength: Int
  let message: String

  init(_ header: String, data dataLength: Int = 0, _ message: String) {
    self.header = header
    self.dataLength = dataLength
    self.message = message
  }

  var testDescription: String { header }

  /// One tensor "a" with these fields.
  static func tensor(_ dtype: String, _ shape: String, _ offsets: String, data: Int, _ message: String) -> Self {
    Self(#"{"a":{"dtype":\#(dtype),"shape":\#(shape),"data_offsets":\#(offsets)}}"#, data: data, message)
  }
}

@Suite struct SafetensorsRefusalTests {
  private static let tensors: [SafetensorsRefusal] = [
    .tensor(#""F8_E4M3""#, "[1]", "[0,1]", data: 1, #"found "F8_E4M3""#),
    .tensor(#""f32""#, "[1]", "[0,4]", data: 4, "expected a dtype"),
    .tensor("1", "[1]", "[0,4]", data: 4, #"expected '"'"#),
    .tensor(#""F32""#, "[2]", "[0,4]", data: 4, "expected 8 bytes"),
    .tensor(#""F32""#, "[1]", "[0,8]", data: 8, "expected 4 bytes"),
    .tensor(#""F32""#, "[]", "[0,0]", data: 0, "expected 4 bytes"),
    .tensor(#""F32""#, "[4294967296,4294967296]", "[0,0]", data: 0, "2^63"),
    .tensor(#""F32""#, "[4294967296,4294967296,0]", "[0,0]", data: 0, "2^63"),
    .tensor(#""F32""#, "[4611686018427387904]", "[0,0]", data: 0, "2^63"),
    .tensor(#""F32""#, "[9223372036854775808]", "[0,0]", data: 0, "found a larger one"),
    .tensor(#""F32""#, "[99999999999999999999999]", "[0,0]", data: 0, "found a larger one"),
    .tensor(#""U8""#, "[-1]", "[0,1]", data: 1, "found '-'"),
    .tensor(#""U8""#, "[1.0]", "[0,1]", data: 1, "found '.'"),
    .tensor(#""U8""#, "[1e0]", "[0,1]", data: 1, "found 'e'"),
    .tensor(#""U8""#, "[01]", "[0,1]", data: 1, "leading zeros"),
    .tensor(#""U8""#, #"["1"]"#, "[0,1]", data: 1, "whole number"),
    .tensor(#""U8""#, "[1,]", "[0,1]", data: 1, "found ']'"),
    .tensor(#""U8""#, "[[1]]", "[0,1]", data: 1, "found '['"),
    .tensor(#""U8""#, "1", "[0,1]", data: 1, "expected '['"),
    .tensor(#""U8""#, "null", "[0,1]", data: 1, "expected '['"),
    .tensor(#""U8""#, "[1]", "[-1,0]", data: 1, "found '-'"),
    .tensor(#""U8""#, "[1]", "[1]", data: 1, "[begin, end]"),
    .tensor(#""U8""#, "[1]", "[0,1,1]", data: 1, "[begin, end]"),
    .tensor(#""U8""#, "[1]", "[1,0]", data: 1, "[begin, end]"),
    .tensor(#""U8""#, "[1]", "[0,1]", data: 0, "truncated"),
    .tensor(#""U8""#, "[1]", "[0,1]", data: 2, "bytes belong to no tensor"),
    .tensor(#""U8""#, "[1]", "[1,2]", data: 2, "leave a hole"),
    .init(#"{"a":{"dtype":"U8","shape":[1]}}"#, data: 1, "found not all of them"),
    .init(#"{"a":{}}"#, "found not all of them"),
    .init(#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}"#, #"found "x""#),
    .init(#"{"a":[]}"#, "expected '{'"),
    .init(#"{"a":-1}"#, "expected '{'"),
  ]

  private static let pairs: [SafetensorsRefusal] = [
    ((0, 4), (2, 6)), ((0, 4), (0, 4)), ((0, 4), (5, 9)), ((4, 8), (0, 3)),
  ]
  .map { a, b in
    let overlap = max(a.0, b.0) < min(a.1, b.1)
    return .init(
      #"{"a":{"dtype":"U8","shape":[\#(a.1 - a.0)],"data_offsets":[\#(a.0),\#(a.1)]},"#
        + #""b":{"dtype":"U8","shape":[\#(b.1 - b.0)],"data_offsets":[\#(b.0),\#(b.1)]}}"#,
      data: max(a.1, b.1), overlap ? "overlap" : "leave a hole")
  }

  private static let documents: [SafetensorsRefusal] = [
    .init("", "starts with '{'"),
    .init(" {}", "starts with '{'"),
    .init("[]", "starts with '{'"),
    .init("{", "the header's end"),
    .init("{}", data: 1, "bytes belong to no tensor"),
    .init("{}{}", "expected padding"),
    .init("{}\0", "found byte 0x00"),
    .init("{,}", "found ','"),
    .init(#"{"a"}"#, "expected ':'"),
    .init(#"{a:1}"#, "found 'a'"),
    .init(#"{"__metadata__":{"k":1}}"#, #"expected '"'"#),
    .init(#"{"__metadata__":{"k":null}}"#, #"expected '"'"#),
    .init(#"{"__metadata__":{"k":{}}}"#, #"expected '"'"#),
    .init(#"{"__metadata__":null}"#, "expected '{'"),
    .init(#"{"__metadata__":{"k":"v",}}"#, "found '}'"),
    .init(#"{"__metadata__":{"k":"v"};}"#, "expected '}' or ','"),
    .init("{\"__metadata__\":{\"k\":\"line\nbreak\"}}", "found byte 0x0a"),
    .init(#"{"__metadata__":{"k":"\x"}}"#, "after a backslash"),
    .init(#"{"__metadata__":{"k":"\u12g4"}}"#, "hexadecimal digit"),
    .init(#"{"__metadata__":{"k":"\ud83c"}}"#, "half a pair"),
    .init(#"{"__metadata__":{"k":"\ud83cx"}}"#, "half a pair"),
    .init(#"{"__metadata__":{"k":"\ud83c\u0000"}}"#, "half a pair"),
    .init(#"{"__metadata__":{"k":"\ud83c\ud83c"}}"#, "half a pair"),
    .init(#"{"__metadata__":{"k":"\udf33"}}"#, "half a pair"),
    .init(#"{"__metadata__":{"k":"\"#, "the header's end"),
    .init(#"{"__metadata__":{"k":"v"#, "closing quote"),
    .init(String(repeating: #"{"a":"#, count: 100_000), "expected \"dtype\""),
    .init("{\"a\":{\"dtype\":\"U8\",\"shape\":" + String(repeating: "[", count: 100_000), "found '['"),
  ]

  private static let duplicates: [SafetensorsRefusal] = [
    .init(#"{"__metadata__":{},"__metadata__":{}}"#, #"found "__metadata__" again"#),
    .init(#"{"__metadata__":{},"__metadata\u005f_":{}}"#, #"found "__metadata__" again"#),
    .init(#"{"__metadata__":{"k":"v","k":"v"}}"#, #"found "k" again"#),
    .init(#"{"__metadata__":{"k":"v","\u006b":"w"}}"#, #"found "k" again"#),
    .init(
      #"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
      #"found "a" again"#),
    .init(#"{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, #"found "dtype" again"#),
    .init(#"{"a":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}}"#, #"found "shape" again"#),
    .init(
      #"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"data_offsets":[0,0]}}"#, #"found "data_offsets" again"#),
  ]

  @Test(arguments: tensors + pairs + documents + duplicates)
  func aBadHeaderIsRefused(_ refusal: SafetensorsRefusal) throws {
    let folder = try SafetensorsFolder()
    let data = [UInt8](repeating: 1, count: refusal.dataLength)
    let path = try folder.store(safetensorsBytes(header: Array(refusal.header.utf8), data: data))
    expectError(.input, naming: path, saying: refusal.message) { _ = try SafetensorsFile(path: path) }
  }

  /// Lone continuation, overlong form, surrogate, above U+10FFFF, cut short; in a string and outside of any.
  @Test(
    arguments: [[0x80], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82], [0xff]] as [[UInt8]])
  func invalidUTF8IsRefused(_ invalid: [UInt8]) throws {
    let folder = try SafetensorsFolder()
    let inside = Array(#"{"__metadata__":{"k":""#.utf8) + invalid + Array(#""}}"#.utf8)
    let path = try folder.store(safetensorsBytes(header: inside))
    expectError(.input, naming: path, saying: "UTF-8") { _ = try SafetensorsFile(path: path) }
    _ = try folder.store(safetensorsBytes(header: Array("{}".utf8) + invalid))
    expectError(.input, naming: path, saying: "expected padding") { _ = try SafetensorsFile(path: path) }
  }

  @Test(
    arguments: [
      ([], "at least 8 bytes"),
      ([2, 0, 0, 0, 0, 0, 0], "at least 8 bytes"),
      ([1, 0, 0, 0, 0, 0, 0, 0], "expected a header of 1 bytes, found 0"),
      ([0x00, 0xe1, 0xf5, 0x05, 0, 0, 0, 0], "expected a header of 100000000 bytes, found 0"),
      ([0x01, 0xe1, 0xf5, 0x05, 0, 0, 0, 0], "at most 100000000 bytes, found a length of 100000001"),
      ([0, 0, 0, 0, 0, 0, 0, 0x80], "at most 100000000 bytes"),
      ([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "at most 100000000 bytes"),
    ] as [([UInt8], String)])
  func aBadLengthIsRefused(bytes: [UInt8], message: String) throws {
    let folder = try SafetensorsFolder()
    let path = try folder.store(bytes)
    expectError(.input, naming: path, saying: message) { _ = try SafetensorsFile(path: path) }
  }
}

/// A small valid file, damaged: every outcome must be a refusal or tensors that lie in the file's data.
@Suite struct SafetensorsDamageTests {
  private let folder: SafetensorsFolder
  private let original: [UInt8]
  private let dataStart: Int

  init() throws {
    folder = try SafetensorsFolder()
    try SafetensorsWriter(
      entries: [
        .init("w\n", .float32, [2, 2], bytes: patternBytes(16, seed: 1)),
        .init("é", .int16, [3], bytes: patternBytes(6, seed: 2)), .init("none", .bool, [0], bytes: []),
        .init("s", .uint8, [], bytes: [5]),
      ], metadata: ["shape": "[2, 2]", "\u{1}": ""]
    ).write(to: folder.file())
    original = try Array(Data(contentsOf: URL(fileURLWithPath: folder.file())))
    dataStart = 8 + Int(original[0]) + Int(original[1]) << 8
  }

  /// Whether the file is accepted; its tensors are then compared with the bytes at their place.
  private func isAccepted(_ bytes: [UInt8]) throws -> Bool {
    let path = try folder.store(bytes)
    let file: SafetensorsFile
    do {
      file = try SafetensorsFile(path: path)
    } catch let error as EspalierError {
      #expect(error.kind == .input && error.message.hasPrefix(path) && !error.message.contains { $0.isNewline })
      return false
    }
    let start = 8 + (0..<8).reduce(0) { $0 | Int(bytes[$1]) << (8 * $1) }
    for name in file.names {
      let entry = try #require(file.entry(named: name))
      #expect(entry.type.byteCount(shape: entry.shape) == entry.byteRange.count)
      let place = start + entry.byteRange.lowerBound..<start + entry.byteRange.upperBound
      try #require(place.upperBound <= bytes.count)
      #expect(try file.bytes(of: name) == Array(bytes[place]))
    }
    return true
  }

  @Test func theOriginalIsAccepted() throws { #expect(try isAccepted(original)) }

  @Test func everyTruncationIsRefused() throws {
    for length in 0..<original.count { #expect(try !isAccepted(Array(original[..<length])), "\(length) bytes") }
  }

  @Test func everyExtensionIsRefused() throws {
    for length in [1, 7, 8, 4096] { #expect(try !isAccepted(original + patternBytes(length, seed: 3))) }
  }

  @Test func everyFlippedBitOfTheHeaderIsSurvived() throws {
    var accepted = 0
    for position in 0..<dataStart {
      for bit in 0..<8 {
        var bytes = original
        bytes[position] ^= 1 << bit
        accepted += try isAccepted(bytes) ? 1 : 0
      }
    }
    // Bits of names and of metadata may flip unseen, others not.
    #expect((1..<dataStart * 2).contains(accepted))
  }

  @Test func everyReplacedOrDroppedByteOfTheHeaderIsSurvived() throws {
    for position in 8..<dataStart {
      let shortened = original[8..<position] + original[(position + 1)..<dataStart]
      _ = try isAccepted(safetensorsBytes(header: Array(shortened), data: Array(original[dataStart...])))
      for token in "\"\\{}[]:,-09u \0".utf8 {
        var bytes = original
        bytes[position] = token
        _ = try isAccepted(bytes)
      }
    }
  }
}
