import EspalierCore

/// VGG with batch norm, a quarter of the channels and two hidden layers of 512, for 32 x 32 images (Heddes et al., arXiv 2401.06898;
/// after Simonyan & Zisserman 2015). Parameter names are torchvision's.
struct VGGSmall {
  /// Convolutions in each of the five stages.
  static let depths: [Int: [Int]] = [
    11: [1, 1, 2, 2, 2], 13: [2, 2, 2, 2, 2], 16: [2, 2, 3, 3, 3], 19: [2, 2, 4, 4, 4],
  ]
  static let channels = [16, 32, 64, 128, 128]

  let depth: Int
  let width: Double

  /// Of a name such as `vgg16-small`; nil where it is none of them.
  init?(_ request: ModelCatalog.Request) {
    guard let depth = Self.depths.keys.first(where: { request.name == "vgg\($0)-small" }) else { return nil }
    self.depth = depth
    width = request.width
  }

  func spec(_ request: ModelCatalog.Request) throws -> ModelSpec {
    try ModelSpec(
      name: request.name, input: request.colourInput(side: 32), classes: request.classes,
      layers: features() + classifier(classes: request.classes))
  }

  /// Five stages of 3x3 convolutions, each ending in a 2x2 max-pool. Indices count the ReLU, which the norm carries out.
  private func features() -> [LayerSpec] {
    var layers: [LayerSpec] = []
    var index = 0
    for (channels, count) in zip(Self.channels, Self.depths[depth] ?? []) {
      for _ in 0..<count {
        layers.append(
          .convolution(
            name: "features.\(index)", outChannels: scaled(channels),
            geometry: ConvolutionGeometry(kernel: 3, padding: 1)))
        layers.append(.batchNorm(name: "features.\(index + 1)", relu: true))
        index += 3
      }
      layers.append(.maxPool(PoolGeometry(kernel: 2)))
      index += 1
    }
    return layers
  }

  private func classifier(classes: Int) -> [LayerSpec] {
    [
      .flatten,
      .linear(name: "classifier.0", outputs: scaled(512)), .relu, .dropout(probability: 0.5),
      .linear(name: "classifier.3", outputs: scaled(512)), .relu, .dropout(probability: 0.5),
      .linear(name: "classifier.6", outputs: classes),
    ]
  }

  private func scaled(_ channels: Int) -> Int { max(1, Int(Double(channels) * width)) }
}
