import Espalier
import EspalierCore
import Foundation
import Testing

@Suite struct SafetensorsWriterTests {
  @Test func aTinyFileHasTheExpectedBytes() throws {
    let header =
      #"{"__metadata__":{"k":"v"},"b":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"#
      + #""a":{"dtype":"U8","shape":[3],"data_offsets":[4,7]}}      "#
    // 130 characters of JSON, 6 spaces: 136 = 0x88.
    let expected: [UInt8] =
      [0x88, 0, 0, 0, 0, 0, 0, 0] + Array(header.utf8) + [0x00, 0x00, 0x80, 0x3f, 1, 2, 3]
    let writer = try SafetensorsWriter(
      entries: [
        .init("a", .uint8, [3], bytes: [1, 2, 3]), .init("b", .float32, [], bytes: [0x00, 0x00, 0x80, 0x3f]),
      ], metadata: ["k": "v"])
    let folder = try SafetensorsFolder()
    try writer.write(to: folder.file())
    #expect(try Array(Data(contentsOf: URL(fileURLWithPath: folder.file()))) == expected)
  }

  @Test func aFileWithoutTensorsIsAnEmptyObject() throws {
    let folder = try SafetensorsFolder()
    try SafetensorsWriter(entries: []).write(to: folder.file())
    let bytes = try Array(Data(contentsOf: URL(fileURLWithPath: folder.file())))
    #expect(bytes == [8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8))
    #expect(try SafetensorsFile(path: folder.file()).names.isEmpty)
  }

  @Test func theWidestTypesComeFirstThenNamesByTheirBytes() throws {
    // As the official library 0.8.0 orders them; "Z" < "a" < "é" by bytes.
    let expected: [(String, SafetensorsType)] = [
      ("u64", .uint64), ("i64", .int64), ("f64", .float64), ("f32", .float32), ("u32", .uint32), ("Z", .int32),
      ("a", .int32), ("é", .int32), ("bf16", .bfloat16), ("f16", .float16), ("u16", .uint16), ("i16", .int16),
      ("i8", .int8), ("u8", .uint8), ("bool", .bool),
    ]
    let entries = expected.map { name, type in
      SafetensorsWriter.Entry(name, type, [], bytes: patternBytes(type.byteWidth, seed: 1))
    }
    let folder = try SafetensorsFolder()
    for rotation in 0..<entries.count {
      let rotated = Array(entries[rotation...] + entries[..<rotation])
      try SafetensorsWriter(entries: rotated.reversed()).write(to: folder.file())
      #expect(try SafetensorsFile(path: folder.file()).names == expected.map(\.0))
    }
    let widths = expected.map(\.1.byteWidth)
    #expect(widths == widths.sorted(by: >))
  }

  @Test func equalContentMakesEqualFiles() throws {
    let metadata = Dictionary(uniqueKeysWithValues: (0..<50).map { ("key \($0)", "value \($0)") })
    let folder = try SafetensorsFolder()
    let files = try (0..<3).map { index in
      let pairs = metadata.shuffled()
      let copy = Dictionary(uniqueKeysWithValues: pairs)
      try SafetensorsWriter(entries: [], metadata: copy).write(to: folder.file("\(index)"))
      return try Data(contentsOf: URL(fileURLWithPath: folder.file("\(index)")))
    }
    #expect(files[0] == files[1] && files[1] == files[2])
  }

  /// Pieces below, at and above the size that is gathered before it is written, and those that do not divide it.
  @Test(arguments: [1, 1000, 65_535, 65_536, 65_537, 150_000])
  func piecesOfAnySizeMakeTheSameFile(piece: Int) throws {
    let bytes = patternBytes(300_001, seed: 2)
    let folder = try SafetensorsFolder()
    let entry = SafetensorsWriter.Entry(name: "t", type: .uint8, shape: [bytes.count]) { sink in
      try bytes.withUnsafeBytes { all in
        for start in stride(from: 0, to: all.count, by: piece) {
          try sink(UnsafeRawBufferPointer(rebasing: all[start..<min(start + piece, all.count)]))
          try sink(UnsafeRawBufferPointer(start: nil, count: 0))
        }
      }
    }
    try SafetensorsWriter(entries: [entry]).write(to: folder.file())
    #expect(try SafetensorsFile(path: folder.file()).bytes(of: "t") == bytes)
  }

  @Test func anOlderLongerFileIsReplacedWhole() throws {
    let folder = try SafetensorsFolder()
    let path = try folder.store(patternBytes(5000, seed: 3))
    try SafetensorsWriter(entries: [.init("t", .int8, [1], bytes: [9])]).write(to: path)
    #expect(try SafetensorsFile(path: path).bytes(of: "t") == [9])
  }

  @Test func contradictoryEntriesAreRefused() {
    func plan(_ entries: SafetensorsWriter.Entry...) throws { _ = try SafetensorsWriter(entries: entries) }
    expectError(.usage, saying: #""a": expected a name of its own"#) {
      try plan(.init("a", .bool, [0], bytes: []), .init("a", .float32, [0], bytes: []))
    }
    expectError(.usage, saying: "__metadata__") { try plan(.init("__metadata__", .bool, [0], bytes: [])) }
    expectError(.usage, saying: "[2, -1]") { try plan(.init("a", .bool, [2, -1], bytes: [])) }
    expectError(.usage, saying: "2^63") { try plan(.init("a", .bool, [1 << 32, 1 << 31], bytes: [])) }
    expectError(.usage, saying: "2^63") { try plan(.init("a", .int16, [1 << 62], bytes: [])) }
    expectError(.usage, saying: "in all") {
      try plan(.init("a", .bool, [1 << 62], bytes: []), .init("b", .bool, [1 << 62], bytes: []))
    }
  }

  @Test(arguments: [0, 7, 9, 100_000])
  func aTensorOfAnotherSizeThanItsShapeIsRefused(count: Int) throws {
    let folder = try SafetensorsFolder()
    let writer = try SafetensorsWriter(entries: [.init("a", .float32, [2], bytes: patternBytes(count, seed: 4))])
    expectError(.usage, naming: folder.file(), saying: #""a": expected 8 bytes"#) {
      try writer.write(to: folder.file())
    }
  }

  @Test func theErrorOfASourcePassesThrough() throws {
    let folder = try SafetensorsFolder()
    let entry = SafetensorsWriter.Entry(name: "a", type: .bool, shape: [1]) { _ in throw EspalierError.diverged("mine")
    }
    expectError(.diverged, saying: "mine") { try SafetensorsWriter(entries: [entry]).write(to: folder.file()) }
  }
}

@Suite struct SafetensorsWriteFailureTests {
  private func expectWriteError(_ path: String, saying fragment: String, byteCount: Int = 4) throws {
    let bytes = patternBytes(byteCount, seed: 5)
    let writer = try SafetensorsWriter(entries: [.init("a", .uint8, [byteCount], bytes: bytes)])
    expectError(.write, naming: path, saying: fragment) { try writer.write(to: path) }
  }

  @Test func anAbsentFolderIsReported() throws {
    let folder = try SafetensorsFolder()
    try expectWriteError(folder.file("absent/model.safetensors"), saying: "No such file or directory")
  }

  @Test func aFolderInTheFilesPlaceIsReported() throws {
    let folder = try SafetensorsFolder()
    try expectWriteError(folder.path, saying: "Is a directory")
  }

  /// The superuser may write to any folder.
  @Test(.enabled(if: geteuid() != 0)) func aReadOnlyFolderIsReported() throws {
    let folder = try SafetensorsFolder()
    try #require(chmod(folder.path, 0o555) == 0)
    defer { chmod(folder.path, 0o755) }
    try expectWriteError(folder.file(), saying: "Permission denied")
  }

  /// A folder in which not even the superuser creates files.
  @Test func aSystemFolderIsReported() throws {
    try expectWriteError("/proc/espalier.safetensors", saying: "cannot be created")
  }

  /// Gathered and flushed at the end, or passed on at once.
  @Test(arguments: [4, 1_000_000]) func aFullDiskIsReported(byteCount: Int) throws {
    try expectWriteError("/dev/full", saying: "No space left on device", byteCount: byteCount)
  }
}
