import Espalier
import EspalierCore
import Testing

/// Totals of the published architectures, by arithmetic: biases and norms included.
@Suite struct ModelCatalogTests {
  struct Total: Sendable, CustomTestStringConvertible {
    let name: String
    let classes, parameters: Int
    var testDescription: String { "\(name), \(classes) classes" }
  }

  static let totals = [
    Total(name: "vgg11-small", classes: 10, parameters: 912_330),
    Total(name: "vgg13-small", classes: 10, parameters: 923_994),
    Total(name: "vgg16-small", classes: 10, parameters: 1_256_730),
    Total(name: "vgg19-small", classes: 10, parameters: 1_589_466),
    Total(name: "vgg11-small", classes: 100, parameters: 958_500),
    Total(name: "vgg13-small", classes: 100, parameters: 970_164),
    Total(name: "vgg16-small", classes: 100, parameters: 1_302_900),
    Total(name: "vgg19-small", classes: 100, parameters: 1_635_636),
    Total(name: "resnet20", classes: 10, parameters: 269_722),
    Total(name: "resnet32", classes: 10, parameters: 464_154),
    Total(name: "resnet44", classes: 10, parameters: 658_586),
    Total(name: "resnet56", classes: 10, parameters: 853_018),
    Total(name: "resnet110", classes: 10, parameters: 1_727_962),
    Total(name: "resnet1202", classes: 10, parameters: 19_421_274),
    Total(name: "resnet20", classes: 100, parameters: 275_572),
    Total(name: "resnet32", classes: 100, parameters: 470_004),
    Total(name: "resnet44", classes: 100, parameters: 664_436),
    Total(name: "resnet56", classes: 100, parameters: 858_868),
    Total(name: "resnet110", classes: 100, parameters: 1_733_812),
    Total(name: "resnet1202", classes: 100, parameters: 19_427_124),
    Total(name: "simple-vit-tiny", classes: 10, parameters: 4_237_930),
    Total(name: "simple-vit-tiny", classes: 100, parameters: 4_284_100),
    Total(name: "simple-vit", classes: 1000, parameters: 39_603_688),
    Total(name: "resnet18", classes: 1000, parameters: 11_689_512),
    Total(name: "resnet34", classes: 1000, parameters: 21_797_672),
    Total(name: "resnet50", classes: 1000, parameters: 25_557_032),
    Total(name: "resnet101", classes: 1000, parameters: 44_549_160),
    Total(name: "resnet152", classes: 1000, parameters: 60_192_808),
    Total(name: "vgg11", classes: 1000, parameters: 132_868_840),
    Total(name: "vgg13", classes: 1000, parameters: 133_053_736),
    Total(name: "vgg16", classes: 1000, parameters: 138_365_992),
    Total(name: "vgg19", classes: 1000, parameters: 143_678_248),
  ]

  @Test func everyNameButThePerceptronsHasItsTotal() {
    #expect(Set(Self.totals.map(\.name)) == Set(ModelCatalog.names).subtracting(["mlp"]))
    #expect(Set(ModelCatalog.names).count == ModelCatalog.names.count)
  }

  static func spec(
    _ name: String, width: Double = 1, hidden: [Int] = [512, 512], classes: Int = 10,
    images: FeatureSize = FeatureSize(channels: 3, height: 32, width: 32)
  ) throws -> ModelSpec {
    try ModelCatalog.spec(
      ModelCatalog.Request(name: name, width: width, hidden: hidden, images: images, classes: classes))
  }

  @Test(arguments: totals)
  func parameterTotals(_ total: Total) throws {
    let spec = try Self.spec(total.name, classes: total.classes)
    #expect(spec.parameters == total.parameters)
    #expect(ModelCatalog.isForImageNet(total.name) == (total.classes == 1000))
    #expect(spec.parameters == spec.sparsifiableWeights + spec.denseParameters)
  }

  @Test(arguments: [
    ("vgg16-small", 10, 1_252_528), ("vgg16-small", 100, 1_298_608), ("resnet56", 10, 848_944),
    ("resnet56", 100, 854_704), ("simple-vit-tiny", 10, 4_224_000), ("simple-vit-tiny", 100, 4_270_080),
  ])
  func sparsifiableWeights(name: String, classes: Int, expected: Int) throws {
    #expect(try Self.spec(name, classes: classes).sparsifiableWeights == expected)
  }

  /// In hundred thousands of multiply-adds.
  @Test(arguments: [("vgg16-small", 202), ("resnet20", 406), ("resnet56", 1255), ("simple-vit-tiny", 2700)])
  func denseForwardOperations(name: String, expected: Double) throws {
    let multiplyAdds = Double(try Self.spec(name).denseForwardFlops) / 2
    #expect((multiplyAdds / 1e5).rounded() == expected)
  }

  @Test func denseForwardOperationsOfResNet50() throws {
    let spec = try Self.spec("resnet50", classes: 1000, images: FeatureSize(channels: 3, height: 224, width: 224))
    #expect(spec.input == FeatureSize(channels: 3, height: 224, width: 224))
    #expect((Double(spec.denseForwardFlops) / 2e6).rounded() == 4089)
  }

  /// A made model has as many numbers to train as its description says, sparse or not.
  @Test(arguments: [0, 0.9])
  func madeModelsAgreeWithTheirDescription(sparsity: Double) throws {
    let context = try ComputeContext(threads: 1)
    let spec = try Self.spec("vgg16-small")
    let model = try Model(sparse: spec, sparsity: sparsity, random: CounterRandom(seed: 1), context: context)
    let active = Int(((1 - sparsity) * Double(spec.sparsifiableWeights)).rounded())
    #expect(model.connections == active)
    #expect(model.parameters.reduce(0) { $0 + $1.count } == active + spec.denseParameters)
  }

  /// torchvision's indices: convolution, norm, ReLU; then a pool.
  @Test func namesOfVGG() throws {
    let context = try ComputeContext(threads: 1)
    let model = try Model(
      sparse: try Self.spec("vgg11-small"), sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let convolutions = [0, 4, 8, 11, 15, 18, 22, 25]
    var expected: [String] = []
    for index in convolutions {
      expected += ["features.\(index).weight", "features.\(index).bias"]
      expected += ["weight", "bias", "running_mean", "running_var"].map { "features.\(index + 1).\($0)" }
    }
    for index in [0, 3, 6] { expected += ["classifier.\(index).weight", "classifier.\(index).bias"] }
    #expect(model.state.map(\.name) == expected.sorted())
    let sparse = convolutions.map { "features.\($0).weight" } + [0, 3, 6].map { "classifier.\($0).weight" }
    #expect(model.sparseParameters.map(\.name) == sparse)
  }

  @Test func namesOfResidualNetworks() throws {
    let context = try ComputeContext(threads: 1)
    let model = try Model(
      sparse: try Self.spec("resnet20"), sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let blocks = (1...3).flatMap { stage in (0..<3).map { "layer\(stage).\($0)" } }
    let convolutions = ["conv1"] + blocks.flatMap { ["\($0).conv1", "\($0).conv2"] }
    let norms = ["bn1"] + blocks.flatMap { ["\($0).bn1", "\($0).bn2"] }
    let sparse = (convolutions + ["linear"]).map { $0 + ".weight" }
    #expect(model.sparseParameters.map(\.name) == sparse)
    let dense = norms.flatMap { norm in ["weight", "bias", "running_mean", "running_var"].map { "\(norm).\($0)" } }
    #expect(model.state.map(\.name) == (sparse + dense + ["linear.bias"]).sorted())
    #expect(model.spec.weightLayers.map(\.index) == Array(0..<20))
    #expect(
      model.spec.weightLayers.map(\.positions) == [Int](repeating: 1024, count: 7)
        + [Int](repeating: 256, count: 6) + [Int](repeating: 64, count: 6) + [1])
  }

  @Test func namesOfTransformers() throws {
    let context = try ComputeContext(threads: 1)
    let model = try Model(
      sparse: try Self.spec("simple-vit-tiny"), sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    var sparse = ["to_patch_embedding.2.weight"]
    var dense = ["to_patch_embedding.2.bias", "linear_head.1.bias"]
    var norms = ["to_patch_embedding.1", "to_patch_embedding.3", "linear_head.0"]
    for layer in (0..<4).map({ "transformer.layers.\($0)" }) {
      sparse += ["0.to_qkv", "0.to_out", "1.net.1", "1.net.3"].map { "\(layer).\($0).weight" }
      dense += ["\(layer).1.net.1.bias", "\(layer).1.net.3.bias"]
      norms += ["\(layer).0.norm", "\(layer).1.net.0"]
    }
    sparse.append("linear_head.1.weight")
    dense += norms.flatMap { ["\($0).weight", "\($0).bias"] }
    #expect(model.sparseParameters.map(\.name) == sparse)
    #expect(model.state.map(\.name) == (sparse + dense).sorted())
    #expect(model.spec.weightLayers.map(\.denseShape)[1...4] == [[1152, 512], [512, 384], [256, 512], [512, 256]])
  }

  /// Stages of a residual network must double, and their padding must be whole; a transformer needs a head.
  @Test(arguments: [("resnet20", 0.3), ("resnet20", 0.0625), ("simple-vit-tiny", 0.1), ("simple-vit-tiny", 0.335)])
  func widthsThatMakeNoModel(name: String, width: Double) {
    expectError(.usage, naming: "width: \(width) gives \(name)") { _ = try Self.spec(name, width: width) }
  }

  @Test func widthScalesResidualNetworksAndTransformers() throws {
    let resnet = try Self.spec("resnet20", width: 0.5)
    #expect(Set(resnet.weightLayers.map(\.shape.rows)) == [8, 16, 32, 10])
    let transformer = try Self.spec("simple-vit-tiny", width: 0.5)
    #expect(transformer.weightLayers.map(\.shape.rows).prefix(5) == [256, 576, 256, 128, 256])
  }

  @Test func multilayerPerceptron() throws {
    let images = FeatureSize(channels: 1, height: 28, width: 28)
    let spec = try Self.spec("mlp", hidden: [300, 100], images: images)
    #expect(spec.input == images)
    #expect(spec.weightLayers.map(\.shape.columns) == [784, 300, 100])
    #expect(spec.weightLayers.map(\.shape.rows) == [300, 100, 10])
    #expect(spec.weightLayers.map(\.positions) == [1, 1, 1])
    #expect(spec.denseParameters == 410)
    let multiplyAdds = 784 * 300 + 300 * 100 + 1000
    #expect(spec.denseForwardFlops == 2 * multiplyAdds)
    #expect(try Self.spec("mlp", hidden: [], images: images).sparsifiableWeights == 7840)
  }

  /// int(c * w) of the channels and of the classifier; the classes stay.
  @Test(arguments: [0.25, 0.5, 1.3, 2])
  func widthScalesChannels(width: Double) throws {
    let spec = try Self.spec("vgg16-small", width: width)
    let channels = [16, 16, 32, 32] + [64, 64, 64] + [128, 128, 128, 128, 128, 128, 512, 512]
    #expect(spec.weightLayers.map(\.shape.rows) == channels.map { Int(Double($0) * width) } + [10])
    let mlp = try Self.spec("mlp", width: width, hidden: [100])
    #expect(mlp.weightLayers.map(\.shape.rows) == [Int(100 * width), 10])
  }

  @Test(arguments: ["vgg16_small", "VGG16-small", "vg16-small"])
  func unknownNamesGetASuggestion(_ name: String) {
    expectError(.usage, naming: "model: '\(name)'", saying: "did you mean 'vgg16-small'?") { _ = try Self.spec(name) }
  }

  @Test func namesLikeNoneGetTheList() {
    expectError(.usage, saying: "vgg11-small, vgg13-small, vgg16-small, vgg19-small") {
      _ = try Self.spec("transformer-of-dreams")
    }
    expectError(.usage, naming: "model: 'vgg12-small'") { _ = try Self.spec("vgg12-small") }
  }

  @Test(arguments: [0, -1, .nan, .infinity, 1025])
  func widthsOutOfRange(_ width: Double) {
    expectError(.usage, naming: "width:") { _ = try Self.spec("vgg16-small", width: width) }
  }

  @Test(arguments: [[0], [512, -1], [Int.max], [1 << 31, 1 << 31, 1 << 31]])
  func hiddenSizesOutOfRange(_ hidden: [Int]) {
    expectError(.usage, naming: "hidden:") { _ = try Self.spec("mlp", hidden: hidden) }
  }

  @Test func hiddenSizesOutOfRangeByTheirWidth() {
    expectError(.usage, naming: "hidden:") { _ = try Self.spec("mlp", width: 1024, hidden: [1 << 20, 1 << 20]) }
  }

  @Test func imagesThatDoNotFit() {
    expectError(.usage, saying: "64 x 64") {
      _ = try Self.spec("vgg16-small", images: FeatureSize(channels: 3, height: 64, width: 64))
    }
    expectError(.usage, naming: "mlp:") {
      _ = try Self.spec("mlp", images: FeatureSize(channels: 65_536, height: 65_536, width: 65_536))
    }
  }
}
