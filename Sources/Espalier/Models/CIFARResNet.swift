import EspalierCore

/// The residual networks for 32 x 32 images, of 6n + 2 layers and with shortcuts without weights (He et al. 2016, section 4.2, option A).
/// Parameter names are the usual CIFAR ResNets'.
struct CIFARResNet {
  static let depths = [20, 32, 44, 56, 110, 1202]
  static let channels = [16, 32, 64]

  let depth: Int
  let width: Double

  /// Of a name such as `resnet56`; nil where it is none of them.
  init?(_ request: ModelCatalog.Request) {
    guard let depth = Self.depths.first(where: { request.name == "resnet\($0)" }) else { return nil }
    self.depth = depth
    width = request.width
  }

  func spec(_ request: ModelCatalog.Request) throws -> ModelSpec {
    let widths = Self.channels.map { Int(Double($0) * width) }
    guard widths[0] > 0, widths[1] == 2 * widths[0], widths[2] == 2 * widths[1], widths[1] % 4 == 0 else {
      throw EspalierError.usage(
        "width: \(width) gives \(request.name) stages of \(widths.map(String.init).joined(separator: ", ")) channels; expected each to be twice the one before, and multiples of 4 after the first, as multiples of 0.125 make them"
      )
    }
    var layers: [LayerSpec] = [
      .convolution(
        name: "conv1", outChannels: widths[0], geometry: ConvolutionGeometry(kernel: 3, padding: 1), bias: false),
      .batchNorm(name: "bn1", relu: true),
    ]
    for (stage, channels) in widths.enumerated() {
      for block in 0..<(depth - 2) / 6 {
        layers.append(
          self.block("layer\(stage + 1).\(block)", channels: channels, stride: stage > 0 && block == 0 ? 2 : 1))
      }
    }
    layers += [.globalAveragePool, .linear(name: "linear", outputs: request.classes)]
    return try ModelSpec(
      name: request.name, input: request.colourInput(side: 32), classes: request.classes, layers: layers)
  }

  /// Two 3x3 convolutions with norms beside a shortcut.
  private func block(_ name: String, channels: Int, stride: Int) -> LayerSpec {
    .residual(
      body: [
        .convolution(
          name: "\(name).conv1", outChannels: channels,
          geometry: ConvolutionGeometry(kernel: 3, stride: stride, padding: 1), bias: false),
        .batchNorm(name: "\(name).bn1", relu: true),
        .convolution(
          name: "\(name).conv2", outChannels: channels, geometry: ConvolutionGeometry(kernel: 3, padding: 1), bias: false
        ),
        .batchNorm(name: "\(name).bn2"),
      ], shortcut: stride == 1 ? [] : [.paddedShortcut(outChannels: channels, stride: stride)], relu: true)
  }
}
