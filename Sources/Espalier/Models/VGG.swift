import EspalierCore

/// VGG with batch norm (Simonyan & Zisserman 2015): torchvision's for images of at least 32 x 32, and a small one with a quarter of the
/// channels and two hidden layers of 512 for 32 x 32 images (Heddes et al., arXiv 2401.06898). Parameter names are torchvision's.
struct VGG {
  /// Convolutions in each of the five stages.
  private static let depths: [Int: [Int]] = [
    11: [1, 1, 2, 2, 2], 13: [2, 2, 2, 2, 2], 16: [2, 2, 3, 3, 3], 19: [2, 2, 4, 4, 4],
  ]
  private static let channels = [64, 128, 256, 512, 512]
  static let smallNames = depths.keys.sorted().map { "vgg\($0)-small" }
  static let imageNetNames = depths.keys.sorted().map { "vgg\($0)" }

  /// Convolutions a stage.
  private let counts: [Int]
  private let isSmall: Bool

  /// Of a name such as `vgg16-small` or `vgg16`; nil where it is none of them.
  init?(_ request: ModelCatalog.Request) {
    isSmall = request.name.hasSuffix("-small")
    let suffix = isSmall ? "-small" : ""
    guard let found = Self.depths.first(where: { request.name == "vgg\($0.key)\(suffix)" }) else { return nil }
    counts = found.value
  }

  func spec(_ request: ModelCatalog.Request) throws -> ModelSpec {
    if !isSmall { try request.requireUnitWidth() }
    return try ModelSpec(
      name: request.name, input: isSmall ? request.colourInput(side: 32) : request.imageNetInput(),
      classes: request.classes, layers: features(width: request.width) + classifier(request))
  }

  /// Five stages of 3x3 convolutions, each ending in a 2x2 max-pool. Indices count the ReLU, which the norm carries out.
  private func features(width: Double) -> [LayerSpec] {
    var layers: [LayerSpec] = []
    var index = 0
    for (channels, count) in zip(Self.channels, counts) {
      for _ in 0..<count {
        layers.append(
          .convolution(
            name: "features.\(index)", outChannels: scaled(isSmall ? channels / 4 : channels, width),
            geometry: ConvolutionGeometry(kernel: 3, padding: 1)))
        layers.append(.batchNorm(name: "features.\(index + 1)", relu: true))
        index += 3
      }
      layers.append(.maxPool(PoolGeometry(kernel: 2)))
      index += 1
    }
    return layers
  }

  private func classifier(_ request: ModelCatalog.Request) -> [LayerSpec] {
    let hidden = scaled(isSmall ? 512 : 4096, request.width)
    return (isSmall ? [] : [.adaptiveAveragePool(height: 7, width: 7)]) + [
      .flatten,
      .linear(name: "classifier.0", outputs: hidden), .relu, .dropout(probability: 0.5),
      .linear(name: "classifier.3", outputs: hidden), .relu, .dropout(probability: 0.5),
      .linear(name: "classifier.6", outputs: request.classes),
    ]
  }

  private func scaled(_ channels: Int, _ width: Double) -> Int { max(1, Int(Double(channels) * width)) }
}
