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
  ]

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
    #expect(spec.parameters == spec.sparsifiableWeights + spec.denseParameters)
  }

  @Test(arguments: [(10, 1_252_528), (100, 1_298_608)])
  func sparsifiableWeights(classes: Int, expected: Int) throws {
    #expect(try Self.spec("vgg16-small", classes: classes).sparsifiableWeights == expected)
  }

  @Test func denseForwardOperations() throws {
    let multiplyAdds = Double(try Self.spec("vgg16-small").denseForwardFlops) / 2
    #expect((multiplyAdds / 1e5).rounded() == 202)  // 20.2 M
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
    expectError(.usage, saying: "mlp, vgg11-small, vgg13-small, vgg16-small, vgg19-small") {
      _ = try Self.spec("transformer-of-dreams")
    }
    expectError(.usage, naming: "model: 'vgg12-small'") { _ = try Self.spec("vgg12-small") }
  }

  @Test func plannedModelsAreSaidToBeMissing() {
    expectError(.usage, saying: "'resnet56' is not in this version") { _ = try Self.spec("resnet56") }
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
