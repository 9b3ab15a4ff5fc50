import Espalier
import EspalierCore
import Foundation
import Testing

/// Damaged checkpoints are refused in one line that names the file; nothing crashes, nothing large is allocated for them.
@Suite struct CheckpointDamageTests {
  private func expectRefusal(
    saying fragment: String = "", dense: Bool = false, sourceLocation: SourceLocation = #_sourceLocation,
    of damage: (inout CheckpointFixture) throws -> Void
  ) throws {
    var fixture = try CheckpointFixture(dense: dense)
    #expect(throws: Never.self, sourceLocation: sourceLocation) { try fixture.load() }
    try damage(&fixture)
    expectError(.input, naming: fixture.folder.file(), saying: fragment, sourceLocation: sourceLocation) {
      try fixture.load()
    }
  }

  @Test func everyMissingTensorIsNamed() throws {
    for name in try CheckpointFixture().tensors.keys {
      try expectRefusal(saying: "layers.") { $0.tensors[name] = nil }
    }
    for name in try CheckpointFixture(dense: true).tensors.keys {
      try expectRefusal(saying: name, dense: true) { $0.tensors[name] = nil }
    }
  }

  @Test func wrongShapes() throws {
    for name in try CheckpointFixture().tensors.keys {
      try expectRefusal(saying: "layers.") { fixture in
        var tensor = try #require(fixture.tensors[name])
        tensor.shape = [tensor.shape[0] + 1]
        tensor.bytes += [0, 0, 0, 0]
        fixture.tensors[name] = tensor
      }
      try expectRefusal(saying: "layers.") { $0.tensors[name]?.shape.append(1) }
    }
    try expectRefusal(saying: "'layers.2.weight'", dense: true) { $0.tensors["layers.2.weight"]?.shape = [24, 16] }
  }

  @Test func wrongTypes() throws {
    for name in try CheckpointFixture().tensors.keys {
      try expectRefusal(saying: "layers.") { fixture in
        let type = try #require(fixture.tensors[name]).type
        fixture.tensors[name]?.type = type == .float32 ? .int32 : .float32
      }
    }
  }

  @Test func columnsOutOfRange() throws {
    for (column, fragment) in [(784, "layers.0.weight"), (Int32.max, "layers.0.weight"), (-1, "-1")] {
      try expectRefusal(saying: fragment) { $0.tensors["layers.0.weight.col_indices"]?.words[17] = column }
    }
  }

  @Test func columnsThatDoNotAscend() throws {
    try expectRefusal(saying: "layers.4.weight") { fixture in
      // The last layer is dense by its budget, or nearly so: its first row has at least two connections.
      try #require((fixture.tensors["layers.4.weight.crow_indices"]?.words[1] ?? 0) >= 2)
      fixture.tensors["layers.4.weight.col_indices"]?.words.swapAt(0, 1)
    }
    try expectRefusal(saying: "layers.4.weight") { fixture in
      let first = try #require(fixture.tensors["layers.4.weight.col_indices"]?.words[0])
      fixture.tensors["layers.4.weight.col_indices"]?.words[1] = first
    }
  }

  @Test func rowStartsThatDescend() throws {
    try expectRefusal(saying: "layers.0.weight") { fixture in
      let third = try #require(fixture.tensors["layers.0.weight.crow_indices"]?.words[3])
      fixture.tensors["layers.0.weight.crow_indices"]?.words[2] = third + 1
    }
    try expectRefusal(saying: "layers.0.weight") { $0.tensors["layers.0.weight.crow_indices"]?.words[0] = 1 }
    try expectRefusal(saying: "layers.0.weight") { $0.tensors["layers.0.weight.crow_indices"]?.words[5] = -3 }
  }

  @Test func rowStartsBeyondTheValues() throws {
    for start in [5000, Int32.max] {
      try expectRefusal(saying: "layers.0.weight") { $0.tensors["layers.0.weight.crow_indices"]?.words[4] = start }
      try expectRefusal(saying: "layers.0.weight") { $0.tensors["layers.0.weight.crow_indices"]?.words[24] = start }
    }
    try expectRefusal(saying: "layers.0.weight") { $0.tensors["layers.0.weight.crow_indices"]?.words[24] -= 1 }
  }

  @Test func rowStartsOfSixtyFourBitsBeyondAnything() throws {
    try expectRefusal(saying: "layers.0.weight") { fixture in
      var tensor = try #require(fixture.tensors["layers.0.weight.crow_indices"])
      tensor.type = .int64
      tensor.bytes = tensor.words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: Int64(word) >> (8 * $0)) } }
      fixture.tensors["layers.0.weight.crow_indices"] = tensor
      try fixture.load()  // 64-bit indices are as good
      tensor.bytes.replaceSubrange(32..<40, with: [255, 255, 255, 255, 255, 255, 255, 127])
      fixture.tensors["layers.0.weight.crow_indices"] = tensor
    }
  }

  @Test func moreConnectionsThanPossible() throws {
    try expectRefusal(saying: "layers.4.weight") { fixture in
      let count = 16 * 10 + 1
      for part in ["col_indices", "values"] {
        fixture.tensors["layers.4.weight.\(part)"]?.shape = [count]
        fixture.tensors["layers.4.weight.\(part)"]?.bytes = [UInt8](repeating: 0, count: 4 * count)
      }
    }
  }

  @Test func metadataThatIsMissing() throws {
    for key in [
      "espalier.format", "model", "width", "hidden", "images", "classes", "dataset", "method", "seed", "step",
    ] {
      try expectRefusal(saying: key) { $0.metadata[key] = nil }
    }
    try expectRefusal(saying: "batch_size") { $0.metadata["batch_size"] = nil }
  }

  static let nonsense: [(key: String, value: String)] = [
    ("espalier.format", "999"), ("model", "mpl"), ("model", ""), ("model", "resnet56"), ("model", "vgg16-small"),
    ("width", "nan"), ("width", "-1"), ("width", "1e300"), ("width", "wide"), ("width", "1024"),
    ("hidden", "24,16,8"), ("hidden", "24"), ("hidden", "24,x"), ("hidden", "0,16"), ("hidden", "-24,16"),
    ("hidden", "16777216,16777216"), ("hidden", "2147483648,2147483648,2147483648"),
    ("hidden", "99999999999999999999"), ("images", "28x28"), ("images", "1x28x-28"), ("images", "1x28x29"),
    ("images", "65536x65536x65536"), ("images", "1x28x28x1"), ("images", "1xx28x28y"), ("classes", "0"),
    ("classes", "11"), ("classes", "16777216"), ("classes", "ten"), ("seed", "-1"), ("seed", "1e3"), ("step", "now"),
    ("batch_size", "0"), ("batch_size", "70000"),
  ]

  @Test(arguments: nonsense)
  func metadataThatIsNonsense(key: String, value: String) throws {
    try expectRefusal { $0.metadata[key] = value }
    try expectRefusal(dense: true) { $0.metadata[key] = value }
  }

  /// Cut anywhere, the file is refused; so it is with any byte of its header turned over.
  @Test func truncatedFiles() throws {
    let fixture = try CheckpointFixture()
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture.folder.path + "/whole/model.safetensors")))
    for count in [0, 1, 7, 8, 9, 100, 1000, whole.count / 2, whole.count - 1] {
      let path = try fixture.folder.store(Array(whole[..<count]))
      expectError(.input, naming: path) {
        _ = try Checkpoint(path: path).sparseModel(context: ComputeContext(threads: 1))
      }
    }
  }

  @Test func flippedBitsNeverCrash() throws {
    let fixture = try CheckpointFixture()
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: fixture.folder.path + "/whole/model.safetensors")))
    for position in stride(from: 0, to: whole.count, by: max(1, whole.count / 400)) {
      var bytes = whole
      bytes[position] ^= 1 << UInt8(position % 8)
      let path = try fixture.folder.store(bytes)
      do {
        _ = try Checkpoint(path: path).sparseModel(context: ComputeContext(threads: 1))
      } catch let error as EspalierError {
        #expect(error.kind == .input, "byte \(position): \(error)")
      }
    }
  }
}
