import Espalier
import EspalierCore
import Foundation
import Testing

/// An archive of stored members, read by its central directory; checksums bit by bit.
private struct StoredZip {
  var members: [String: [UInt8]] = [:]

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    func number(_ offset: Int, _ width: Int) -> Int {
      (0..<width).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }
    let end = bytes.count - 22
    try #require(number(end, 4) == 0x0605_4b50)
    var (entry, count) = (number(end + 16, 4), number(end + 10, 2))
    #expect(entry + number(end + 12, 4) == end && number(end + 8, 2) == count)
    while count > 0 {
      try #require(number(entry, 4) == 0x0201_4b50)
      let (crc, size, length) = (number(entry + 16, 4), number(entry + 24, 4), number(entry + 28, 2))
      let local = number(entry + 42, 4)
      try #require(number(local, 4) == 0x0403_4b50)
      // Version, flags, method, time, checksum, sizes, lengths: the same in both places.
      #expect(Array(bytes[local + 4..<local + 30]) == Array(bytes[entry + 6..<entry + 32]))
      #expect(number(local + 8, 2) == 0 && number(entry + 20, 4) == size)
      let name = Array(bytes[entry + 46..<entry + 46 + length])
      #expect(name == Array(bytes[local + 30..<local + 30 + length]))
      let data = Array(bytes[local + 30 + length..<local + 30 + length + size])
      #expect(Self.checksum(data) == crc)
      members[String(decoding: name, as: UTF8.self)] = data
      (entry, count) = (entry + 46 + length, count - 1)
    }
    #expect(entry == end)
  }

  private static func checksum(_ bytes: [UInt8]) -> Int {
    var register: UInt32 = 0xffff_ffff
    for byte in bytes {
      register ^= UInt32(byte)
      for _ in 0..<8 { register = register >> 1 ^ (register & 1 == 1 ? 0xedb8_8320 : 0) }
    }
    return Int(~register)
  }

  /// The header's dictionary and the numbers of a member that is an array.
  func array<T: BitwiseCopyable>(_ name: String, of: T.Type) throws -> (header: String, numbers: [T]) {
    let bytes = try #require(members[name + ".npy"])
    let length = Int(bytes[8]) + Int(bytes[9]) << 8
    #expect((10 + length) % 64 == 0 && bytes[9 + length] == 10)
    let data = Array(bytes[(10 + length)...])
    let numbers = data.withUnsafeBytes { raw in
      (0..<data.count / MemoryLayout<T>.size).map {
        raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
      }
    }
    let header = String(decoding: bytes[10..<10 + length], as: UTF8.self).trimmingCharacters(
      in: .whitespacesAndNewlines)
    return (header, numbers)
  }
}

@Suite struct SciPyExportTests {
  private func header(_ type: String, _ shape: String) -> String {
    "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), }"
  }

  @Test func everySparseLayerIsAMatrixOfItsOwn() throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let model = try CheckpointFixture.model(CheckpointFixture.information("resnet20", width: 0.25), context: context)
    let path = folder.path + "/weights"
    try model.writeSciPy(toFolder: path)
    let files = try FileManager.default.contentsOfDirectory(atPath: path)
    #expect(Set(files) == Set(model.sparseParameters.map { $0.layerName + ".npz" } + ["dense.npz"]))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["weights"])
    let dense = model.denseNumbers
    for parameter in model.sparseParameters {
      let (rows, columns, count) = (parameter.matrix.rows, parameter.matrix.columns, parameter.count)
      let zip = try StoredZip("\(path)/\(parameter.layerName).npz")
      #expect(Set(zip.members.keys) == ["indices.npy", "indptr.npy", "format.npy", "shape.npy", "data.npy"])
      let (indices, starts) = (try zip.array("indices", of: Int32.self), try zip.array("indptr", of: Int32.self))
      let (data, shape) = (try zip.array("data", of: Float.self), try zip.array("shape", of: Int64.self))
      let format = try zip.array("format", of: UInt8.self)
      #expect(format == (header("|S3", "()"), Array("csr".utf8)))
      #expect(shape == (header("<i8", "(2,)"), [Int64(rows), Int64(columns)]))
      #expect(indices.header == header("<i4", "(\(count),)") && data.header == header("<f4", "(\(count),)"))
      #expect(starts.header == header("<i4", "(\(rows + 1),)"))
      var found = [Float](repeating: 0, count: rows * columns)
      for row in 0..<rows {
        for k in Int(starts.numbers[row])..<Int(starts.numbers[row + 1]) {
          found[row * columns + Int(indices.numbers[k])] = data.numbers[k]
        }
      }
      #expect(found == dense[parameter.name])
    }
    let zip = try StoredZip(path + "/dense.npz")
    #expect(
      Set(zip.members.keys)
        == Set(dense.keys.filter { !$0.hasSuffix(".weight") || $0.contains("bn") }.map { $0 + ".npy" }))
    for name in zip.members.keys.map({ String($0.dropLast(4)) }) {
      let (text, numbers) = try zip.array(name, of: Float.self)
      #expect(text == header("<f4", "(\(numbers.count),)") && numbers == dense[name])
    }
  }

  @Test func foldersThatAreThereAreLeftAlone() throws {
    let folder = try SafetensorsFolder()
    let model = try CheckpointFixture.model(CheckpointFixture.information(), context: ComputeContext(threads: 1))
    let file = try folder.store([1])
    for path in [folder.path, file, file + "/below", "/proc/espalier"] {
      expectError(.write, naming: path) { try model.writeSciPy(toFolder: path) }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["model.safetensors"])
    try FileManager.default.createDirectory(atPath: folder.path + "/empty", withIntermediateDirectories: false)
    try model.writeSciPy(toFolder: folder.path + "/empty/")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/empty").count == 4)
  }

  @Test(arguments: ["dense", "../up", ".hidden", "a/b"]) func namesThatCollideAreRefused(name: String) throws {
    let folder = try SafetensorsFolder()
    let spec = try ModelSpec(
      name: "tiny", input: FeatureSize(channels: 3), classes: 2, layers: [.linear(name: name, outputs: 2)])
    let model = try Model(
      sparse: spec, sparsity: 0.5, random: CounterRandom(seed: 0), context: ComputeContext(threads: 1))
    expectError(.usage, saying: "layer '\(name)'") { try model.writeSciPy(toFolder: folder.path + "/a") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }
}

@Suite struct WeightsSummaryTests {
  @Test func theHeaderTellsWhatACheckpointHolds() throws {
    let fixture = try CheckpointFixture()
    let summary = try WeightsSummary(path: fixture.folder.path + "/whole")
    #expect(summary.layers.map(\.name) == ["layers.0", "layers.2", "layers.4"])
    #expect(summary.layers.map(\.outputs) == [24, 16, 10])
    #expect(summary.layers.map(\.inputs) == [784, 24, 16])
    #expect(summary.connections == 1936)
    #expect(summary.tensors.map(\.name) == ["layers.0.bias", "layers.2.bias", "layers.4.bias"])
    #expect(summary.layers[0].bytes == 4 * 25 + 8 * summary.layers[0].nnz)
    #expect(try #require(summary.layers[0].density) == Double(summary.layers[0].nnz) / (24 * 784))
    #expect(summary.metadata["step"] == "120")
  }

  /// The data may be anything: they are not looked at.
  @Test func otherFilesAreListedTensorByTensor() throws {
    let folder = try SafetensorsFolder()
    let entries = [
      SafetensorsWriter.Entry("a.weight", .bfloat16, [2, 3], bytes: [UInt8](repeating: 255, count: 12)),
      .init("b.values", .float32, [1], bytes: [0, 0, 0, 0]),
      .init("s", .int64, [], bytes: [UInt8](repeating: 0, count: 8)),
    ]
    try SafetensorsWriter(entries: entries).write(to: folder.file())
    let summary = try WeightsSummary(path: folder.file())
    #expect(summary.layers.isEmpty)
    #expect(summary.tensors.map(\.name) == ["a.weight", "b.values", "s"])
    #expect(summary.tensors.map(\.shape) == [[2, 3], [1], []])
    #expect(summary.tensors.map(\.bytes) == [12, 4, 8])
    #expect(summary.tensors[0].type == .bfloat16)
    expectError(.input, naming: "/nonexistent") { _ = try WeightsSummary(path: "/nonexistent") }
  }
}
