import Espalier
import EspalierCore
import Foundation
import Testing

@Suite struct SafetensorsFileTests {
  @Test(arguments: SafetensorsType.allCases)
  func tensorsOfEveryShapeComeBack(type: SafetensorsType) throws {
    let shapes = [[], [0], [1], [5], [2, 3], [3, 0, 2], [2, 1, 2, 2], [0, 1 << 40]]
    let tensors = shapes.enumerated().map { index, shape in
      let count = shape.isEmpty ? 1 : shape.contains(0) ? 0 : shape.reduce(1, *)
      return (name: "layer.\(index)", shape: shape, bytes: patternBytes(count * type.byteWidth, seed: index))
    }
    let folder = try SafetensorsFolder()
    let writer = try SafetensorsWriter(
      entries: tensors.shuffled().map { .init($0.name, type, $0.shape, bytes: $0.bytes) })
    try writer.write(to: folder.file())
    let file = try SafetensorsFile(path: folder.file())
    #expect(Set(file.names) == Set(tensors.map(\.name)) && file.names.count == tensors.count)
    for tensor in tensors {
      let entry = try #require(file.entry(named: tensor.name))
      #expect(entry.type == type && entry.shape == tensor.shape)
      #expect(try file.bytes(of: tensor.name) == tensor.bytes)
    }
    #expect(file.metadata.isEmpty)
  }

  @Test func tensorsOfAllTypesShareAFile() throws {
    let folder = try SafetensorsFolder()
    let bytes = Dictionary(
      uniqueKeysWithValues: SafetensorsType.allCases.enumerated().map { index, type in
        (type.rawValue, patternBytes(3 * type.byteWidth, seed: index))
      })
    let entries = SafetensorsType.allCases.map { type in
      SafetensorsWriter.Entry(type.rawValue, type, [3], bytes: bytes[type.rawValue]!)
    }
    try SafetensorsWriter(entries: entries).write(to: folder.file())
    let file = try SafetensorsFile(path: folder.file())
    for (name, expected) in bytes { #expect(try file.bytes(of: name) == expected) }
  }

  @Test(arguments: [
    "", "\"", "\\", "/", "a b", "\u{0}", "\u{8}\t\n\u{b}\u{c}\r\u{1f}\u{7f}", "é", "日本", "🌳", "\u{2028}",
  ])
  func anyTextIsANameAndMetadata(text: String) throws {
    let folder = try SafetensorsFolder()
    let writer = try SafetensorsWriter(
      entries: [.init(text, .int8, [2], bytes: [1, 2])], metadata: [text: text, "other": ""])
    try writer.write(to: folder.file())
    let file = try SafetensorsFile(path: folder.file())
    #expect(file.names == [text])
    #expect(try file.bytes(of: text) == [1, 2])
    #expect(file.metadata == [text: text, "other": ""])
    let headerLength = try Data(contentsOf: URL(fileURLWithPath: folder.file()))[0]
    #expect(headerLength % 8 == 0)
  }

  @Test func otherWritersLayoutsAreRead() throws {
    let header = """
      { "b" : {"data_offsets" : [ 0 , 2 ], "shape":[ 2 ],\t"dtype":"I8"},\r
      "\\u0061\\/\\b\\f\\n\\r\\t\\"\\\\\\u00E9\\ud83c\\udf33": {"dtype":"BOOL","shape":[],"data_offsets":[2,3]},
      "__metadata__": {} }\u{20}
      """
    let folder = try SafetensorsFolder()
    let file = try SafetensorsFile(
      path: try folder.store(safetensorsBytes(header: Array(header.utf8), data: [7, 8, 1])))
    #expect(file.names == ["b", "a/\u{8}\u{c}\n\r\t\"\\é🌳"])
    let entry = try #require(file.entry(named: "b"))
    #expect(entry.type == .int8 && entry.shape == [2] && entry.byteRange == 0..<2)
    #expect(try file.bytes(of: "b") == [7, 8])
    #expect(try file.bytes(of: file.names[1]) == [1])
  }

  @Test func absentTensorsAndWrongBuffersAreRefused() throws {
    let folder = try SafetensorsFolder()
    try SafetensorsWriter(entries: [.init("weight", .float32, [2], bytes: patternBytes(8, seed: 1))])
      .write(to: folder.file())
    let file = try SafetensorsFile(path: folder.file())
    #expect(file.entry(named: "bias") == nil)
    var bytes = [UInt8](repeating: 0, count: 9)
    bytes.withUnsafeMutableBytes { buffer in
      expectError(.input, naming: folder.file(), saying: #"did you mean "weight"?"#) {
        try file.read("weigth", into: buffer)
      }
      for count in [0, 7, 9] {
        expectError(.usage, naming: folder.file(), saying: "has 8 bytes") {
          try file.read("weight", into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
        }
      }
    }
    #expect(bytes == [UInt8](repeating: 0, count: 9))
  }

  @Test func aFileThatShrinksWhileOpenIsReported() throws {
    let folder = try SafetensorsFolder()
    try SafetensorsWriter(entries: [.init("weight", .float32, [2], bytes: patternBytes(8, seed: 1))])
      .write(to: folder.file())
    let file = try SafetensorsFile(path: folder.file())
    let size = try Data(contentsOf: URL(fileURLWithPath: folder.file())).count
    try #require(truncate(folder.file(), size - 1) == 0)
    expectError(.input, naming: folder.file(), saying: "overwritten") { _ = try file.bytes(of: "weight") }
  }

  @Test func whatIsNoFileIsRefused() throws {
    let folder = try SafetensorsFolder()
    expectError(.input, naming: folder.file(), saying: "No such file") { _ = try SafetensorsFile(path: folder.file()) }
    expectError(.input, naming: folder.path, saying: "regular") { _ = try SafetensorsFile(path: folder.path) }
    expectError(.input, naming: "/dev/zero", saying: "regular") { _ = try SafetensorsFile(path: "/dev/zero") }
    try #require(mkfifo(folder.file("pipe"), 0o600) == 0)
    expectError(.input, saying: "regular") { _ = try SafetensorsFile(path: folder.file("pipe")) }
  }
}
