import Espalier
import EspalierBaselines
import EspalierCore
import Foundation
import Testing

/// A state_dict of a small `mlp` (784, `hidden`, 10), written tensor by tensor.
struct StateDict {
  struct Tensor {
    var type: SafetensorsType
    var shape: [Int]
    var bytes: [UInt8]
  }

  let folder: SafetensorsFolder
  let hidden: Int
  var tensors: [String: Tensor] = [:]
  var metadata: [String: String] = [:]

  var spec: ModelSpec {
    get throws { try ModelCatalog.spec(CheckpointFixture.information(hidden: [hidden]).model) }
  }

  /// Weights of which three in four are zero, some of these negative zeros.
  init(hidden: Int = 20, seed: UInt64 = 5) throws {
    folder = try SafetensorsFolder()
    self.hidden = hidden
    let random = CounterRandom(seed: seed).stream(.weights, layer: 0)
    var drawn: UInt64 = 0
    for (layer, outputs, inputs) in [("layers.0", hidden, 784), ("layers.2", 10, hidden)] {
      for (name, shape) in [("weight", [outputs, inputs]), ("bias", [outputs])] {
        var numbers = [Float](repeating: 0, count: shape.reduce(1, *))
        random.fill(&numbers, from: drawn)
        drawn += UInt64(numbers.count)
        if name == "weight" {
          for i in numbers.indices where i % 4 != 1 && i % 7 != 3 { numbers[i] = i % 2 == 0 ? 0 : -0.0 }
        }
        tensors["\(layer).\(name)"] = Tensor(type: .float32, shape: shape, bytes: Self.bytes(numbers))
      }
    }
  }

  static func bytes<T: BitwiseCopyable>(_ numbers: [T]) -> [UInt8] { numbers.withUnsafeBytes { Array($0) } }

  func numbers(_ name: String) -> [Float] {
    (tensors[name]?.bytes ?? []).withUnsafeBytes { Array($0.assumingMemoryBound(to: Float.self)) }
  }

  func store() throws -> String {
    let entries = tensors.map { SafetensorsWriter.Entry($0, $1.type, $1.shape, bytes: $1.bytes) }
    try SafetensorsWriter(entries: entries, metadata: metadata).write(to: folder.file())
    return folder.file()
  }

  /// Writes the file and makes a sparse model of it.
  @discardableResult
  func load(_ context: ComputeContext? = nil) throws -> Model {
    let context = try context ?? ComputeContext(threads: 1)
    return try Model(spec, weights: WeightsFile(path: store()), context: context)
  }
}

extension CounterRandom.Stream {
  /// Numbers from -1 to 1, none of them zero.
  fileprivate func fill(_ numbers: inout [Float], from first: UInt64) {
    numbers.withUnsafeMutableBufferPointer { fill($0, from: first, in: -1..<1) }
    for i in numbers.indices where numbers[i] == 0 { numbers[i] = 0.5 }
  }
}

extension Model {
  /// A state's numbers by name; of sparse weights the dense form.
  var denseNumbers: [String: [Float]] {
    var result: [String: [Float]] = [:]
    for tensor in state {
      switch tensor {
      case .dense(let name, _, let values): result[name] = values.array
      case .sparse(let parameter):
        let matrix = parameter.matrix
        var dense = [Float](repeating: 0, count: matrix.rows * matrix.columns)
        for position in 0..<matrix.count {
          let (row, column) = matrix.structure.connection(at: position)
          dense[row * matrix.columns + column] = matrix.withValues { $0[position] }
        }
        result[parameter.name] = dense
      }
    }
    return result
  }
}

@Suite struct WeightsFileTests {
  /// Exactly the numbers that are not zero become connections, each in its place.
  @Test(arguments: [1, 20, 130]) func maskedDenseWeightsBecomeSparse(hidden: Int) throws {
    let file = try StateDict(hidden: hidden)
    let context = try ComputeContext(threads: 1)
    let model = try file.load(context)
    for (name, found) in model.denseNumbers { #expect(found == file.numbers(name), "\(name)") }
    for parameter in model.sparseParameters {
      #expect(parameter.count == file.numbers(parameter.name).count { $0 != 0 })
    }
    let counts = try WeightsFile(path: file.store()).connections(of: file.spec)
    #expect(counts == model.connectionCounts)
    try context.meter.check()
  }

  @Test func noBufferIsAsLargeAsTheDenseMatrix() throws {
    var file = try StateDict(hidden: 512)
    var sparse = [Float](repeating: 0, count: 512 * 784)
    for i in stride(from: 5, to: sparse.count, by: 97) { sparse[i] = 1 }
    file.tensors["layers.0.weight"]?.bytes = StateDict.bytes(sparse)
    for type in [SafetensorsType.float32, .float64] {
      if type == .float64 {
        file.tensors["layers.0.weight"]?.type = type
        file.tensors["layers.0.weight"]?.bytes = StateDict.bytes(sparse.map(Double.init))
      }
      let context = try ComputeContext(threads: 1)
      #expect(try file.load(context).sparseParameters[0].count == sparse.count { $0 != 0 })
      try context.meter.check()
      #expect(context.meter.reading.largestWeightBuffer <= 8 * 5120)
    }
  }

  @Test(arguments: CheckpointTests.models)
  func everyModelTravelsBothWays(_ information: Checkpoint.Information) throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let model = try CheckpointFixture.model(information, context: context)
    for layout in [Model.SafetensorsLayout.csr, .maskedDense] {
      try model.writeSafetensors(to: folder.file(), layout: layout, metadata: ["by": "a test"])
      let weights = try WeightsFile(path: folder.file())
      let loaded = try Model(model.spec, weights: weights, random: CounterRandom(seed: 9), context: context)
      #expect(loaded.weightsSHA256 == model.weightsSHA256)
      #expect(try weights.connections(of: model.spec) == model.connectionCounts)
      #expect(try SafetensorsFile(path: folder.file()).metadata["by"] == "a test")
    }
    try context.meter.check()
  }

  /// A connection whose weight is zero is kept in CSR, lost in masked dense, and counted.
  @Test func storedZerosAreConnections() throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let information = CheckpointFixture.information()
    let model = try CheckpointFixture.model(information, context: context)
    model.sparseParameters[0].withMutableValues { values in for i in 0..<7 { values[3 * i] = i % 2 == 0 ? 0 : -0.0 } }
    #expect(model.zeroConnections == 7)
    for (layout, lost) in [(Model.SafetensorsLayout.csr, 0), (.maskedDense, 7)] {
      try model.writeSafetensors(to: folder.file(), layout: layout)
      let loaded = try Model(model.spec, weights: WeightsFile(path: folder.file()), context: context)
      #expect(loaded.connections == model.connections - lost)
      #expect(loaded.zeroConnections == 7 - lost)
    }
  }

  /// Every finite number of 16 bits; the rounding of 64.
  @Test func numbersOfEveryTypeAreConverted() throws {
    var file = try StateDict(hidden: 80)
    let size = 80 * 784
    let patterns = [UInt16](0..<UInt16.max)
    let halves: [Float16] = Array(patterns.map { Float16(bitPattern: $0) }.filter { $0.isFinite }.prefix(size))
    let wide: [Float] = patterns.map { (bits: UInt16) -> Float in Float(bitPattern: UInt32(bits) << 16) }
    let brains = Array(wide.filter { $0.isFinite }.prefix(size))
    let brainBits = brains.map { (number: Float) -> UInt16 in UInt16(truncatingIfNeeded: number.bitPattern >> 16) }
    var doubles = [Double](repeating: 0, count: size)
    for i in 0..<size where i % 5 != 0 { doubles[i] = Double(i - 1000) / 3 }
    var cases: [(type: SafetensorsType, bytes: [UInt8], expected: [Float])] = []
    cases.append((.float16, StateDict.bytes(halves), halves.map { Float($0) }))
    cases.append((.bfloat16, StateDict.bytes(brainBits), brains))
    cases.append((.float64, StateDict.bytes(doubles), doubles.map { Float($0) }))
    for (type, bytes, expected) in cases {
      try #require(expected.count == size)
      file.tensors["layers.0.weight"] = .init(type: type, shape: [80, 784], bytes: bytes)
      file.tensors["layers.0.bias"] = .init(
        type: .float16, shape: [80], bytes: StateDict.bytes([Float16](repeating: 1.5, count: 80)))
      let model = try file.load()
      #expect(model.denseNumbers["layers.0.weight"] == expected, "\(type)")
      #expect(model.denseNumbers["layers.0.bias"] == [Float](repeating: 1.5, count: 80))
      #expect(model.sparseParameters[0].count == expected.count { $0 != 0 })
    }
  }

  /// A weight that is not zero is a connection, however small it is.
  @Test func numbersBelowTheSmallestFloatStayActive() throws {
    var file = try StateDict(hidden: 1)
    var weights = [Double](repeating: 0, count: 784)
    (weights[3], weights[9], weights[11]) = (1e-300, -1e-300, -0.0)
    file.tensors["layers.0.weight"] = .init(type: .float64, shape: [1, 784], bytes: StateDict.bytes(weights))
    let model = try file.load()
    #expect(model.sparseParameters[0].count == 2)
    #expect(model.zeroConnections == 0)
  }

  @Test func denseModelsTakeTheWeightsAsTheyAre() throws {
    let file = try StateDict()
    let context = try ComputeContext(threads: 1)
    let random = CounterRandom(seed: 1)
    func denseModel() throws -> Model {
      try Model(
        file.spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
    }
    let model = try denseModel()
    try model.load(WeightsFile(path: file.store()))
    for (name, found) in model.denseNumbers { #expect(found == file.numbers(name), "\(name)") }
    try file.load(context).writeSafetensors(to: file.folder.file())
    let other = try denseModel()
    try other.load(WeightsFile(path: file.folder.file()))
    for (name, found) in other.denseNumbers { #expect(found == file.numbers(name), "\(name)") }
  }

  /// Running statistics may be absent, `num_batches_tracked` may be there.
  @Test func runningStatisticsAreOptional() throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let information = CheckpointFixture.information("vgg11-small", width: 0.25)
    let model = try CheckpointFixture.model(information, context: context)
    try model.writeSafetensors(to: folder.file(), layout: .maskedDense)
    let file = try SafetensorsFile(path: folder.file())
    var entries = try file.names.filter { !$0.contains("running") }.map { name in
      let entry = try #require(file.entry(named: name))
      return SafetensorsWriter.Entry(name, entry.type, entry.shape, bytes: try file.bytes(of: name))
    }
    entries.append(.init("features.1.num_batches_tracked", .int64, [], bytes: [7, 0, 0, 0, 0, 0, 0, 0]))
    try SafetensorsWriter(entries: entries).write(to: folder.file("bare.safetensors"))
    let bare = try Model(model.spec, weights: WeightsFile(path: folder.file("bare.safetensors")), context: context)
    let (found, expected) = (bare.denseNumbers, model.denseNumbers)
    for name in expected.keys {
      if name.hasSuffix("running_mean") {
        #expect(found[name]?.allSatisfy { $0 == 0 } == true)
      } else if name.hasSuffix("running_var") {
        #expect(found[name]?.allSatisfy { $0 == 1 } == true)
      } else {
        #expect(found[name] == expected[name], "\(name)")
      }
    }
  }

  @Test func statisticsThatCannotBeAreRefused() throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let model = try CheckpointFixture.model(CheckpointFixture.information("vgg11-small", width: 0.25), context: context)
    try model.writeSafetensors(to: folder.file(), layout: .maskedDense)
    let file = try SafetensorsFile(path: folder.file())
    func expectRefusal(saying text: String, of change: (String, [UInt8]) -> [UInt8]?) throws {
      let entries = try file.names.compactMap { name -> SafetensorsWriter.Entry? in
        let entry = try #require(file.entry(named: name))
        return change(name, try file.bytes(of: name)).map { .init(name, entry.type, entry.shape, bytes: $0) }
      }
      try SafetensorsWriter(entries: entries).write(to: folder.file("changed.safetensors"))
      expectError(.input, naming: folder.file("changed.safetensors"), saying: text) {
        _ = try Model(model.spec, weights: WeightsFile(path: folder.file("changed.safetensors")), context: context)
      }
    }
    try expectRefusal(saying: "\"features.1.running_mean\" is missing") { name, bytes in
      name == "features.1.running_mean" ? nil : bytes
    }
    try expectRefusal(saying: "'features.1.running_var' holds -0.5; a variance is not negative") { name, bytes in
      name == "features.1.running_var" ? bytes.dropLast(4) + StateDict.bytes([Float(-0.5)]) : bytes
    }
  }
}

@Suite struct WeightsRefusalTests {
  private func expectRefusal(
    saying fragments: String..., sourceLocation: SourceLocation = #_sourceLocation, of damage: (inout StateDict) -> Void
  ) throws {
    var file = try StateDict()
    damage(&file)
    for fragment in fragments {
      expectError(.input, naming: file.folder.file(), saying: fragment, sourceLocation: sourceLocation) {
        try file.load()
      }
    }
  }

  @Test func tensorsThatDoNotFitAreNamed() throws {
    for name in ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"] {
      try expectRefusal(saying: "\"\(name)\" is missing") { $0.tensors[name] = nil }
      try expectRefusal(saying: "\"\(name)\" is F32 [") { file in
        guard let tensor = file.tensors[name] else { return }
        file.tensors[name] = .init(type: .float32, shape: tensor.shape + [2], bytes: tensor.bytes + tensor.bytes)
      }
      try expectRefusal(saying: "\"\(name)\" is I32") { $0.tensors[name]?.type = .int32 }
    }
    try expectRefusal(saying: "\"layers.0.weight\" is F32 [784, 20]") {
      $0.tensors["layers.0.weight"]?.shape = [784, 20]
    }
    try expectRefusal(saying: "\"layers.1.weight\" is not in the model", "\"b\" is not") { file in
      file.tensors["layers.1.weight"] = file.tensors["layers.0.weight"]
      file.tensors["b"] = file.tensors["layers.0.weight"]
    }
    try expectRefusal(saying: "module.state_dict()", "and 2 more") { file in
      file.tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ("module." + $0, $1) })
    }
    try expectRefusal(saying: "model._orig_mod.state_dict()") { file in
      file.tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ("_orig_mod." + $0, $1) })
    }
  }

  @Test func numbersThatAreNotFiniteAreShown() throws {
    for (number, word) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf")] {
      try expectRefusal(saying: "\"layers.0.weight\" holds \(word) at [3, 17]") { file in
        file.tensors["layers.0.weight"]?.bytes.replaceSubrange(
          4 * (3 * 784 + 17)..<4 * (3 * 784 + 18), with: StateDict.bytes([number]))
      }
      try expectRefusal(saying: "\"layers.2.bias\" holds \(word) at [9]") { file in
        file.tensors["layers.2.bias"]?.bytes.replaceSubrange(36..<40, with: StateDict.bytes([number]))
      }
    }
    try expectRefusal(saying: "holds inf at [1]") { file in
      var numbers = [Double](repeating: 1, count: 10)
      numbers[1] = 1e39
      file.tensors["layers.2.bias"] = .init(type: .float64, shape: [10], bytes: StateDict.bytes(numbers))
    }
  }

  @Test func weightsInBothFormsAreRefused() throws {
    var file = try StateDict()
    try file.load().writeSafetensors(to: file.folder.file("csr.safetensors"))
    let sparse = try SafetensorsFile(path: file.folder.file("csr.safetensors"))
    for part in ["crow_indices", "col_indices", "values"] {
      let entry = try #require(sparse.entry(named: "layers.0.weight.\(part)"))
      file.tensors["layers.0.weight.\(part)"] = .init(
        type: entry.type, shape: entry.shape, bytes: try sparse.bytes(of: "layers.0.weight.\(part)"))
    }
    file.metadata["layers.0.weight.shape"] = "[20, 784]"
    expectError(.input, saying: "both dense and as CSR") { try file.load() }
    file.tensors["layers.0.weight"] = nil
    try file.load()
    for shape in ["[20,784]", "[20, 784 ]"] {
      file.metadata["layers.0.weight.shape"] = shape
      try file.load()
    }
    for shape in [nil, "", "[]", "[784, 20]", "[20, 785]", "[20, x]", "15680"] {
      file.metadata["layers.0.weight.shape"] = shape
      expectError(.input, saying: "layers.0.weight.shape") { try file.load() }
    }
    file.metadata["layers.0.weight.shape"] = "[20, 784]"
    file.tensors["layers.0.weight.col_indices"] = nil
    expectError(.input, saying: "layers.0.weight.col_indices") { try file.load() }
  }

  /// Cut anywhere, or with any header byte turned over: refused in one line, or as good as before; never a crash.
  @Test func damagedFilesAreRefused() throws {
    let file = try StateDict(hidden: 4)
    let whole = try [UInt8](Data(contentsOf: URL(fileURLWithPath: file.store())))
    let (spec, context) = (try file.spec, try ComputeContext(threads: 1))
    for count in stride(from: 0, to: whole.count, by: 64) {
      let path = try file.folder.store(Array(whole[..<count]))
      expectError(.input, naming: path) { _ = try Model(spec, weights: WeightsFile(path: path), context: context) }
    }
    let headerEnd = 8 + Int(whole[0]) + Int(whole[1]) << 8
    for position in 0..<headerEnd {
      var bytes = whole
      bytes[position] ^= 1 << UInt8(position % 8)
      let path = try file.folder.store(bytes)
      do {
        _ = try Model(spec, weights: WeightsFile(path: path), context: context)
      } catch let error as EspalierError {
        #expect(error.kind == .input && !error.message.contains { $0.isNewline }, "byte \(position): \(error)")
      }
    }
    expectError(.input, naming: "/nonexistent/w") { _ = try WeightsFile(path: "/nonexistent/w") }
  }
}
