import EspalierCore
import EspalierData
import Foundation
import TestSupport
import Testing

/// A file by hand: magic bytes, version, the header as it is, the data.
private func npyBytes(_ header: String, data: [UInt8] = [], version: UInt8 = 1, length: Int? = nil) -> [UInt8] {
  let text = Array(header.utf8)
  let width = version == 1 ? 2 : 4
  let lengthBytes = (0..<width).map { UInt8(truncatingIfNeeded: (length ?? text.count) >> (8 * $0)) }
  return [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0] + lengthBytes + text + data
}

private func header(_ type: String, _ shape: String, order: String = "False") -> String {
  "{'descr': '\(type)', 'fortran_order': \(order), 'shape': \(shape), }\n"
}

/// A folder for one test's files.
private final class NumPyFolder {
  let path = FileManager.default.temporaryDirectory.appendingPathComponent("espalier-\(UUID().uuidString)").path

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false) }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  func store(_ bytes: [UInt8]) throws -> String {
    let file = path + "/x.npy"
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }
}

private func floats(_ file: NumPyFile, from first: Int = 0, count: Int) throws -> [Float] {
  var numbers = [Float](repeating: .nan, count: count)
  try numbers.withUnsafeMutableBytes { try file.read(from: first, into: $0) }
  return numbers
}

@Suite struct NumPyFileTests {
  private let folder: NumPyFolder

  init() throws { folder = try NumPyFolder() }

  private func expectRefusal(_ bytes: [UInt8], saying fragment: String, _ location: SourceLocation = #_sourceLocation)
    throws
  {
    let path = try folder.store(bytes)
    do {
      _ = try NumPyFile(path: path)
      Issue.record("expected an error saying '\(fragment)'", sourceLocation: location)
    } catch let error as EspalierError {
      #expect(error.kind == .input && error.message.hasPrefix(path), "\(error)", sourceLocation: location)
      #expect(error.message.contains(fragment), "\(error)", sourceLocation: location)
      #expect(!error.message.contains { $0.isNewline }, "\(error)", sourceLocation: location)
    }
  }

  @Test(arguments: [UInt8(1), 2, 3]) func everyVersionIsRead(version: UInt8) throws {
    let data = [1.5 as Float, -2, 0, 3e38, 5, 6].flatMap { value in
      (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * UInt32($0))) }
    }
    let file = try NumPyFile(path: folder.store(npyBytes(header("<f4", "(2, 3)"), data: data, version: version)))
    #expect(file.type == .float32 && file.shape == [2, 3] && file.count == 6)
    #expect(try floats(file, count: 6) == [1.5, -2, 0, 3e38, 5, 6])
    #expect(try floats(file, from: 4, count: 2) == [5, 6])
    for (first, count) in [(5, 2), (-1, 1), (7, 0)] {
      #expect(throws: EspalierError.self) { try floats(file, from: first, count: count) }
    }
  }

  @Test func headersMayBeWrittenOtherwise() throws {
    for text in [
      "{\"shape\":(3,),\"descr\":\"|u1\",\"fortran_order\":False}",
      "  { 'fortran_order' : False , 'shape' : ( 3 , ) , 'descr' : '|u1' } \n",
    ] {
      let file = try NumPyFile(path: folder.store(npyBytes(text, data: [7, 0, 255])))
      #expect(file.shape == [3])
      #expect(try file.integers() == [7, 0, 255])
    }
    #expect(try NumPyFile(path: folder.store(npyBytes(header("|u1", "()"), data: [9]))).shape == [])
    #expect(try NumPyFile(path: folder.store(npyBytes(header("<f8", "(4, 0, 9)")))).count == 0)
  }

  @Test func wholeNumbersOfEveryTypeAreRead() throws {
    func bytes(_ width: Int, _ value: Int) -> [UInt8] {
      (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    let cases: [(type: String, width: Int, values: [Int])] = [
      ("|b1", 1, [0, 1]), ("|u1", 1, [0, 200]), ("<i4", 4, [-1, Int(Int32.max)]), ("<i8", 8, [Int.min, 5]),
    ]
    for item in cases {
      let data = item.values.flatMap { bytes(item.width, $0) }
      let file = try NumPyFile(path: folder.store(npyBytes(header(item.type, "(2,)"), data: data)))
      #expect(try file.integers() == item.values)
    }
    let file = try NumPyFile(path: folder.store(npyBytes(header("<f4", "(1,)"), data: [0, 0, 0, 0])))
    #expect(throws: EspalierError.self) { try file.integers() }
  }

  @Test func whatIsNotReadIsRefused() throws {
    try expectRefusal(npyBytes(header("|O", "(1,)"), data: [0]), saying: "pickled objects")
    try expectRefusal(
      npyBytes(header("<f4", "(1, 1)", order: "True"), data: [0, 0, 0, 0]), saying: "ascontiguousarray")
    for type in [">f4", "<f2", "<c8", "|S3", "<U2", "f4", ""] {
      try expectRefusal(npyBytes(header(type, "(1,)"), data: [0, 0, 0, 0]), saying: "found '\(type)'")
    }
    let structured = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"
    try expectRefusal(npyBytes(structured, data: [0, 0, 0, 0]), saying: "structured")
  }

  @Test func headersThatLieAreRefused() throws {
    let float = [UInt8](repeating: 0, count: 4)
    for shape in ["(9223372036854775807, 2)", "(4611686018427387904,)", "(65536, 65536, 65536, 65536, 2)"] {
      try expectRefusal(npyBytes(header("<f4", shape), data: float), saying: "2^63")
    }
    for shape in ["(9223372036854775808,)", "(-1,)", "(1.0,)", "(1L,)", "(,)", "(1 1)", "[1]", "(True,)", "((1,),)"] {
      try expectRefusal(npyBytes(header("<f4", shape), data: float), saying: "expected a header")
    }
    try expectRefusal(npyBytes(header("<f4", "(1)"), data: float), saying: "no tuple")
    for shape in ["(2,)", "(0,)", "(1000000000000,)"] {
      try expectRefusal(npyBytes(header("<f4", shape), data: float), saying: "found 4")
    }
    for text in [
      "", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
      "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
      "{'descr': '<f4\\n', 'fortran_order': False, 'shape': (1,)}",
      "{'descr: '<f4', 'fortran_order': False, 'shape': (1,)}", header("<f4", "(1,)") + "x",
    ] {
      try expectRefusal(npyBytes(text, data: float), saying: "expected a header")
    }
    for version in [UInt8(0), 4, 255] {
      try expectRefusal(npyBytes(header("<f4", "(1,)"), data: float, version: version), saying: "version")
    }
    try expectRefusal(npyBytes(header("<f4", "(1,)"), version: 2, length: 0xffff_ffff), saying: "at most 10000")
    try expectRefusal(npyBytes(header("<f4", "(1,)"), length: 9000), saying: "truncated")
    try expectRefusal([0x50, 0x4b, 3, 4, 0, 0, 0, 0, 0, 0], saying: "is it a .npy file?")
  }

  @Test func everyTruncationIsRefused() throws {
    let whole = npyBytes(header("<i4", "(3,)"), data: [UInt8](repeating: 1, count: 12))
    for count in 0..<whole.count {
      let path = try folder.store(Array(whole[..<count]))
      #expect(throws: EspalierError.self, "\(count) bytes") { _ = try NumPyFile(path: path) }
    }
    #expect(throws: EspalierError.self) { _ = try NumPyFile(path: folder.store(whole + [0])) }
    #expect(throws: EspalierError.self) { _ = try NumPyFile(path: folder.path) }
  }

  /// What `numpy.save` writes for the same array, byte by byte.
  @Test func filesAreWrittenAsNumPyWritesThem() throws {
    let path = folder.path + "/y.npy"
    try NumPyFile.write(.float32, shape: [2, 1], to: path) { sink in
      try [1 as Float].withUnsafeBytes { try sink($0) }
      try [-2 as Float].withUnsafeBytes { try sink($0) }
    }
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }"
    let padded = text + String(repeating: " ", count: 117 - text.count) + "\n"
    let expected = npyBytes(padded, data: [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0])
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) == expected)
    #expect(try floats(NumPyFile(path: path), count: 2) == [1, -2])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["y.npy"])
    for shape in [[], [7], [0, 3], [Int](repeating: 1, count: 40)] {
      try NumPyFile.write(.uint8, shape: shape, to: path) { sink in
        try [UInt8](repeating: 3, count: shape.reduce(1, *)).withUnsafeBytes { try sink($0) }
      }
      #expect(try NumPyFile(path: path).shape == shape)
    }
  }

  @Test func aFailedWriteLeavesTheOldFile() throws {
    let path = try folder.store([1, 2, 3])
    struct Stop: Error {}
    #expect(throws: Stop.self) { try NumPyFile.write(.uint8, shape: [2], to: path) { _ in throw Stop() } }
    for count in [0, 1, 3] {
      #expect(throws: EspalierError.self) {
        try NumPyFile.write(.uint8, shape: [2], to: path) { sink in
          try [UInt8](repeating: 0, count: count).withUnsafeBytes { try sink($0) }
        }
      }
    }
    #expect(throws: EspalierError.self) { try NumPyFile.write(.uint8, shape: [-1], to: path) { _ in } }
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) == [1, 2, 3])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x.npy"])
  }
}
