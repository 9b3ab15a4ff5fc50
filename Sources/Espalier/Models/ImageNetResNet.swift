import EspalierCore

/// The residual networks for large images, with basic blocks or bottlenecks and shortcuts by 1x1 convolutions (He et al. 2016, option
/// B). A bottleneck's stride lies in its 3x3 convolution, as in torchvision, whose parameter names these are.
struct ImageNetResNet {
  private static let depths: [Int: (blocks: [Int], isBottleneck: Bool)] = [
    18: ([2, 2, 2, 2], false), 34: ([3, 4, 6, 3], false), 50: ([3, 4, 6, 3], true), 101: ([3, 4, 23, 3], true),
    152: ([3, 8, 36, 3], true),
  ]
  private static let channels = [64, 128, 256, 512]
  static let names = depths.keys.sorted().map { "resnet\($0)" }

  /// Blocks in each of the four stages.
  private let blocks: [Int]
  private let isBottleneck: Bool

  /// Of a name such as `resnet50`; nil where it is none of them.
  init?(_ request: ModelCatalog.Request) {
    guard let found = Self.depths.first(where: { request.name == "resnet\($0.key)" }) else { return nil }
    (blocks, isBottleneck) = found.value
  }

  func spec(_ request: ModelCatalog.Request) throws -> ModelSpec {
    try request.requireUnitWidth()
    var layers = [
      Self.convolution("conv1", Self.channels[0], kernel: 7, stride: 2), .batchNorm(name: "bn1", relu: true),
      .maxPool(PoolGeometry(kernel: 3, stride: 2, padding: 1)),
    ]
    var inputs = Self.channels[0]
    for (stage, channels) in Self.channels.enumerated() {
      let outputs = isBottleneck ? 4 * channels : channels
      for index in 0..<blocks[stage] {
        let stride = stage > 0 && index == 0 ? 2 : 1
        layers.append(block("layer\(stage + 1).\(index)", inputs: inputs, channels: channels, stride: stride))
        inputs = outputs
      }
    }
    layers += [.globalAveragePool, .linear(name: "fc", outputs: request.classes)]
    return try ModelSpec(
      name: request.name, input: request.imageNetInput(), classes: request.classes, layers: layers)
  }

  /// Two 3x3 convolutions, or 1x1, 3x3, 1x1 to four times as many channels; beside them x, projected where its size changes.
  private func block(_ name: String, inputs: Int, channels: Int, stride: Int) -> LayerSpec {
    let outputs = isBottleneck ? 4 * channels : channels
    var body: [LayerSpec] = []
    if isBottleneck {
      body = [
        Self.convolution("\(name).conv1", channels, kernel: 1), .batchNorm(name: "\(name).bn1", relu: true),
        Self.convolution("\(name).conv2", channels, kernel: 3, stride: stride),
        .batchNorm(name: "\(name).bn2", relu: true),
        Self.convolution("\(name).conv3", outputs, kernel: 1), .batchNorm(name: "\(name).bn3"),
      ]
    } else {
      body = [
        Self.convolution("\(name).conv1", channels, kernel: 3, stride: stride),
        .batchNorm(name: "\(name).bn1", relu: true),
        Self.convolution("\(name).conv2", outputs, kernel: 3), .batchNorm(name: "\(name).bn2"),
      ]
    }
    let projection = [
      Self.convolution("\(name).downsample.0", outputs, kernel: 1, stride: stride),
      .batchNorm(name: "\(name).downsample.1"),
    ]
    return .residual(body: body, shortcut: stride == 1 && inputs == outputs ? [] : projection, relu: true)
  }

  /// A convolution without bias that keeps the size, but for its stride.
  private static func convolution(_ name: String, _ channels: Int, kernel: Int, stride: Int = 1) -> LayerSpec {
    .convolution(
      name: name, outChannels: channels,
      geometry: ConvolutionGeometry(kernel: kernel, stride: stride, padding: kernel / 2), bias: false)
  }
}
