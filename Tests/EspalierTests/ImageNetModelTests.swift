import Espalier
import EspalierCore
import Testing

/// The networks designed for ImageNet: names, sizes, and memory in proportion to their connections.
@Suite struct ImageNetModelTests {
  private static let large = FeatureSize(channels: 3, height: 224, width: 224)

  private func spec(_ name: String, classes: Int = 1000, images: FeatureSize = large) throws -> ModelSpec {
    try ModelCatalogTests.spec(name, classes: classes, images: images)
  }

  private func names(_ spec: ModelSpec) throws -> (sparse: [String], state: [String]) {
    let context = try ComputeContext(threads: 1)
    let model = try Model(sparse: spec, sparsity: 0.999, random: CounterRandom(seed: 0), context: context)
    return (model.sparseParameters.map(\.name), model.state.map(\.name))
  }

  /// torchvision's state_dict, but for its counters of batches.
  @Test(arguments: [
    ("resnet18", [2, 2, 2, 2], 2), ("resnet34", [3, 4, 6, 3], 2), ("resnet50", [3, 4, 6, 3], 3),
    ("resnet101", [3, 4, 23, 3], 3), ("resnet152", [3, 8, 36, 3], 3),
  ])
  func namesOfResidualNetworks(name: String, blocks: [Int], convolutions: Int) throws {
    var (sparse, norms) = (["conv1"], ["bn1"])
    for (stage, count) in blocks.enumerated() {
      for block in (0..<count).map({ "layer\(stage + 1).\($0)" }) {
        sparse += (1...convolutions).map { "\(block).conv\($0)" }
        norms += (1...convolutions).map { "\(block).bn\($0)" }
        guard block.hasSuffix(".0"), stage > 0 || convolutions == 3 else { continue }
        sparse.append("\(block).downsample.0")
        norms.append("\(block).downsample.1")
      }
    }
    sparse = (sparse + ["fc"]).map { $0 + ".weight" }
    let dense = norms.flatMap { norm in ["weight", "bias", "running_mean", "running_var"].map { "\(norm).\($0)" } }
    let found = try names(try spec(name, classes: 10))
    #expect(found.sparse == sparse)
    #expect(found.state == (sparse + dense + ["fc.bias"]).sorted())
  }

  @Test func namesAndShapesOfVGG() throws {
    let spec = try spec("vgg16")
    let convolutions = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]
    #expect(
      spec.weightLayers.map(\.shape.name) == convolutions.map { "features.\($0)" }
        + [0, 3, 6].map { "classifier.\($0)" })
    #expect(
      spec.weightLayers.map(\.denseShape).suffix(4) == [
        [512, 512, 3, 3], [4096, 25_088], [4096, 4096], [1000, 4096],
      ])
    #expect(spec.weightLayers.map(\.positions)[11...] == [196, 196, 1, 1, 1])
    let hasBias = spec.weightLayers.allSatisfy(\.hasBias)
    #expect(hasBias)
  }

  /// Output positions of conv1, of each stage, of the head: the stride is in the 3x3 convolution.
  @Test func sizesWithinResNet50() throws {
    let layers = try spec("resnet50").weightLayers
    func layer(_ name: String) throws -> WeightLayer { try #require(layers.first { $0.shape.name == name }) }
    #expect(try layer("conv1").positions == 112 * 112)
    #expect(try layer("conv1").denseShape == [64, 3, 7, 7])
    #expect(try layer("layer1.0.conv1").positions == 56 * 56)
    #expect(try layer("layer2.0.conv1").positions == 56 * 56)
    #expect(try layer("layer2.0.conv2").positions == 28 * 28)
    #expect(try layer("layer2.0.downsample.0").denseShape == [512, 256, 1, 1])
    #expect(try layer("layer4.2.conv3").denseShape == [2048, 512, 1, 1])
    #expect(try layer("layer4.2.conv3").positions == 49)
    #expect(try layer("fc").denseShape == [1000, 2048])
  }

  /// Images as the data set has them, of 32 x 32 at least, in colour; VGG's classifier fits any of them.
  @Test(arguments: ["resnet18", "resnet50", "vgg11"])
  func imagesOfOtherSizes(_ name: String) throws {
    for (side, expected) in [(28, 32), (32, 32), (64, 64), (97, 97)] {
      let spec = try spec(name, classes: 10, images: FeatureSize(channels: 1, height: side, width: side))
      #expect(spec.input == FeatureSize(channels: 3, height: expected, width: expected))
    }
    let oblong = try spec(name, classes: 100, images: FeatureSize(channels: 3, height: 40, width: 20))
    #expect(oblong.input == FeatureSize(channels: 3, height: 40, width: 32))
    expectError(.usage, saying: "1 or 3 channels, the data set has 4 x 32 x 32") {
      _ = try spec(name, images: FeatureSize(channels: 4, height: 32, width: 32))
    }
    expectError(.usage, saying: "at most 4096 x 4096") {
      _ = try spec(name, images: FeatureSize(channels: 3, height: 5000, width: 32))
    }
  }

  @Test(arguments: ["resnet18", "resnet152", "vgg11", "vgg19"], [0.5, 2])
  func widthDoesNotApply(_ name: String, width: Double) {
    expectError(.usage, naming: "width: \(width) does not apply to \(name)") {
      _ = try ModelCatalogTests.spec(name, width: width)
    }
  }

  @Test(arguments: [
    ("resnet-50", "resnet50"), ("resnet-152", "resnet152"), ("vg19", "vgg19"), ("simple-vitt", "simple-vit"),
  ])
  func unknownNamesGetASuggestion(name: String, nearest: String) {
    expectError(.usage, naming: "model: '\(name)'", saying: "did you mean '\(nearest)'?") { _ = try spec(name) }
  }

  /// Building takes memory in proportion to connections and units: never in proportion to the dense weights.
  @Test(arguments: ["resnet50", "resnet152", "vgg16"])
  func buildingTakesMemoryInProportionToConnections(_ name: String) throws {
    let spec = try spec(name)
    let budget = Double(spec.sparsifiableWeights)
    for sparsity in [0.99, 0.998] {
      let context = try ComputeContext(threads: 2)
      let model = try Model(sparse: spec, sparsity: sparsity, random: CounterRandom(seed: 1), context: context)
      #expect(model.connections == Int(((1 - sparsity) * budget).rounded()))
      let reading = context.meter.reading
      try context.meter.check()
      let units = spec.weightLayers.reduce(0) { $0 + $1.shape.rows + $1.shape.columns }
      // Values, gradient and structure both ways, some of them twice while a layer is made; a few numbers an input and output.
      #expect(reading.peakWeightBytes <= 48 * (model.connections + units))
      #expect(reading.peakWeightBytes < spec.sparsifiableWeights * 4 / 2)
      let widest = model.sparseParameters.map(\.count).max() ?? 0
      #expect(reading.largestWeightBuffer <= 16 * (widest + 25_088 + 4096))
    }
  }
}
