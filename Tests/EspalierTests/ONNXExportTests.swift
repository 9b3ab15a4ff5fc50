import Espalier
import EspalierCore
import EspalierProtobuf
import Foundation
import Testing

/// ONNX files, read back by their protobuf messages. What they compute is checked by onnxruntime: Benchmarks/interop/roundtrip.py.
@Suite struct ONNXExportTests {
  private let folder: SafetensorsFolder
  private let context: ComputeContext
  private var path: String { folder.path + "/model.onnx" }

  init() throws {
    folder = try SafetensorsFolder()
    context = try ComputeContext(threads: 1)
  }

  private func model(_ name: String, width: Double = 1, dense: Bool = false) throws -> Model {
    try CheckpointFixture.model(CheckpointFixture.information(name, width: width), dense: dense, context: context)
  }

  private func read() throws -> Onnx_ModelProto {
    try Onnx_ModelProto(serializedBytes: [UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
  }

  private func numbers<T: BitwiseCopyable>(_ bytes: Data, as: T.Type) -> [T] {
    let bytes = [UInt8](bytes)
    return bytes.withUnsafeBytes { raw in
      (0..<bytes.count / MemoryLayout<T>.size).map {
        raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
      }
    }
  }

  private func shape(_ name: String, in model: Model) -> [Int64]? {
    let layer = model.spec.weightLayers.first { $0.shape.name + ".weight" == name }
    return layer?.denseShape.map(Int64.init)
  }

  @Test(arguments: [("mlp", 1.0), ("resnet20", 0.25), ("vgg11-small", 0.25), ("simple-vit-tiny", 0.25)])
  func denseInitializersAreTheWeights(_ name: String, _ width: Double) throws {
    let model = try model(name, width: width)
    try model.writeONNX(to: path, metadata: ["b": "2", "a": "1"])
    let file = try read()
    #expect(file.irVersion == 8 && file.opsetImport.map(\.version) == [17] && file.producerName == "espalier")
    #expect(file.metadataProps.map(\.key) == ["a", "b"])
    let weights = Dictionary(uniqueKeysWithValues: file.graph.initializer.map { ($0.name, $0) })
    #expect(weights.count == file.graph.initializer.count && file.graph.sparseInitializer.isEmpty)
    for (name, expected) in model.denseNumbers {
      let tensor = try #require(weights[name], "\(name)")
      #expect(tensor.dims == shape(name, in: model) ?? [Int64(expected.count)] && tensor.dataType == 1)
      #expect(numbers(tensor.rawData, as: Float.self) == expected, "\(name)")
    }
    try context.meter.check()
  }

  /// Pools of both kinds, a bias, a ReLU of its own, dropout, linear layers in a row.
  private static func pooled() throws -> ModelSpec { try TrainingSetup.convolutional().spec }

  /// What the operators compute, one by one and in Double, is what the model computes.
  @Test(arguments: 0..<5) func theGraphComputesTheLogits(_ index: Int) throws {
    let specs = [TinyModels.residual, TinyModels.bottlenecks, TinyModels.adaptive, TinyModels.transformer, Self.pooled]
    let spec = try specs[index]()
    let model = try TinyModels.model(spec, context: context)
    for case .dense(let name, _, let values) in model.state where name.contains("running") {
      for i in 0..<values.count { values[i] += Float(i % 3 + 1) / 8 }
    }
    try model.writeONNX(to: path)
    let samples = 3
    let images = (0..<samples * spec.input.count).map { Float($0 * 7919 % 1013) / 506 - 1 }
    let expected = try images.withUnsafeBufferPointer { try Predictor(model, context: context).logits(of: $0) }
    var interpreter = ONNXInterpreter(try read().graph)
    let found = try interpreter(
      PlainTensor(
        shape: [samples, spec.input.channels, spec.input.height, spec.input.width], numbers: images.map { Double($0) }))
    #expect(found.shape == [samples, spec.classes])
    let largest = expected.map { abs($0) }.max() ?? 0
    try #require(largest > 0.01, "logits that differ from zero")
    for (a, b) in zip(found.numbers, expected) { #expect(abs(a - Double(b)) <= 1e-5 * Double(largest)) }
  }

  @Test func denseModelsAreWrittenToo() throws {
    let model = try model("mlp", dense: true)
    try model.writeONNX(to: path, initializers: .sparse)
    let weights = try read().graph.initializer
    for (name, expected) in model.denseNumbers {
      let tensor = try #require(weights.first { $0.name == name })
      #expect(numbers(tensor.rawData, as: Float.self) == expected)
    }
  }

  /// Every connection, a weight of zero among them, in the order of the dense form.
  @Test(arguments: [("mlp", 1.0), ("resnet20", 0.5)])
  func sparseInitializersAreTheConnections(_ name: String, _ width: Double) throws {
    let model = try model(name, width: width)
    model.sparseParameters[0].withMutableValues { $0[3] = 0 }
    try model.writeONNX(to: path, initializers: .sparse)
    let graph = try read().graph
    #expect(graph.sparseInitializer.count == model.sparseParameters.count)
    let dense = model.denseNumbers
    for parameter in model.sparseParameters {
      let tensor = try #require(graph.sparseInitializer.first { $0.values.name == parameter.name })
      let places = numbers(tensor.indices.rawData, as: Int64.self)
      let values = numbers(tensor.values.rawData, as: Float.self)
      #expect(tensor.dims == shape(parameter.name, in: model))
      #expect(tensor.indices.dims == [Int64(parameter.count)] && tensor.indices.dataType == 7)
      #expect(tensor.values.dims == tensor.indices.dims && tensor.values.dataType == 1)
      #expect(places.count == parameter.count && values.count == parameter.count)
      #expect(zip(places, places.dropFirst()).allSatisfy { $0 < $1 })
      var found = [Float](repeating: 0, count: parameter.matrix.rows * parameter.matrix.columns)
      for (place, value) in zip(places, values) { found[Int(place)] = value }
      #expect(found == dense[parameter.name])
    }
    let sparse = Set(model.sparseParameters.map(\.name))
    let others = Set(graph.initializer.map(\.name))
    #expect(others.isDisjoint(with: sparse) && others.isSuperset(of: Set(dense.keys).subtracting(sparse)))
  }

  /// What is too large for one file goes to a second one; here everything is.
  @Test func largeModelsHaveAFileOfNumbers() throws {
    let model = try model("mlp")
    try model.writeONNX(to: path, initializers: .dense, metadata: [:], limit: 1000)
    let data = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path + ".data")))
    var end = 0
    for tensor in try read().graph.initializer {
      let expected = try #require(model.denseNumbers[tensor.name])
      let places = Dictionary(uniqueKeysWithValues: tensor.externalData.map { ($0.key, $0.value) })
      #expect(places["location"] == "model.onnx.data" && tensor.dataLocation == .external && !tensor.hasRawData)
      let (offset, length) = (
        try #require(places["offset"].flatMap { Int($0) }), try #require(places["length"].flatMap { Int($0) })
      )
      #expect(offset == end && length == 4 * expected.count)
      end = offset + length
      #expect(numbers(Data(data[offset..<end]), as: Float.self) == expected)
    }
    #expect(end == data.count)
    expectError(.usage, naming: path, saying: "--sparse-initializers") {
      try model.writeONNX(to: path, initializers: .sparse, metadata: [:], limit: 1000)
    }
    try context.meter.check()
  }

  /// The operators come from the description, which does not know what given layers compute.
  @Test func modelsOfGivenLayersAreRefused() throws {
    let model = try model("mlp")
    let own = try Model(model.spec, layers: model.layers)
    expectError(.usage, naming: path, saying: "given layers") { try own.writeONNX(to: path) }
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  private struct GainedLayer: Layer {
    let inner: any Layer
    let gain: VectorParameter

    var parameters: [any Parameter] { inner.parameters + [gain] }
    var state: [StateTensor] { inner.state + [gain.state] }

    func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try inner(x, on: tape) }
  }

  private struct GainedLayers: WeightLayerFactory {
    let sparse: SparseLayerFactory

    func makeLayer(_ layer: WeightLayer) throws -> any Layer {
      let gain = VectorParameter(
        name: layer.shape.name + ".gain", count: layer.shape.rows, value: 1, meter: sparse.context.meter)
      return GainedLayer(inner: try sparse.makeLayer(layer), gain: gain)
    }
  }

  /// A factory's layers have numbers that no operator would take.
  @Test func weightsBesideTheDescriptionAreRefused() throws {
    let plain = try model("mlp")
    let random = CounterRandom(seed: 0)
    let factory = GainedLayers(
      sparse: SparseLayerFactory(budgets: plain.connectionCounts, random: random, context: context))
    let own = try Model(plain.spec, factory: factory, random: random, context: context)
    expectError(.usage, naming: path, saying: ".gain") { try own.writeONNX(to: path) }
  }

  /// Every model's graph: nodes in order, each input made before it is used, each name once, one input and one output.
  @Test(arguments: ModelCatalog.names) func everyModelHasAGraph(_ name: String) throws {
    let isLarge = ModelCatalog.isForImageNet(name)
    let side = isLarge ? 224 : 32
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(name: name, images: FeatureSize(channels: 3, height: side, width: side), classes: 7))
    let graph = try spec.onnxGraph()
    var known = Set(["input"] + graph.initializer.map(\.name))
    let weights = Set(spec.weightLayers.map { $0.shape.name + ".weight" })
    var used: Set<String> = []
    for node in graph.node {
      for input in node.input where !known.contains(input) {
        #expect(input.contains(".") && input.last != ".", "\(node.name) takes \(input)")
      }
      used.formUnion(node.input)
      for output in node.output { #expect(known.insert(output).inserted, "\(output)") }
    }
    #expect(used.isSuperset(of: weights))
    #expect(Set(graph.node.map(\.name)).count == graph.node.count)
    #expect(graph.input.map(\.name) == ["input"] && graph.output.map(\.name) == ["logits"] && known.contains("logits"))
    #expect(graph.input[0].type.tensorType.shape.dim.map(\.dimValue) == [0, 3, Int64(side), Int64(side)])
    #expect(graph.output[0].type.tensorType.shape.dim.map(\.dimValue) == [0, 7])
    let names = Set(graph.node.flatMap(\.output)).subtracting(used)
    #expect(names == ["logits"], "results that nobody takes")
  }
}
