import EspalierCore
import EspalierTopology

/// One layer of a model's description: plain data, from which layers are made and costs counted without making any.
public enum LayerSpec: Sendable, Hashable {
  /// A sparse 2-D convolution with `outChannels` channels out.
  case convolution(name: String, outChannels: Int, geometry: ConvolutionGeometry, bias: Bool = true)
  /// Of all of a sample's numbers, or of each token's, the same for each.
  case linear(name: String, outputs: Int, bias: Bool = true)
  /// Batch normalisation, with a ReLU in the same pass where `relu`.
  case batchNorm(name: String, relu: Bool = false)
  /// Normalisation over the features of each token.
  case layerNorm(name: String)
  /// max(x, 0)
  case relu
  /// x * Phi(x), with the normal distribution's Phi.
  case gelu
  /// The maximum of each window.
  case maxPool(PoolGeometry)
  /// The mean of each window.
  case averagePool(PoolGeometry)
  /// The mean of each of `height` x `width` equal shares of the image, whatever its size, as in PyTorch.
  case adaptiveAveragePool(height: Int, width: Int)
  /// Each channel's mean over all positions, or tokens.
  case globalAveragePool
  /// Inverted dropout in training, the identity in evaluation.
  case dropout(probability: Float)
  /// Images as vectors: channels * height * width.
  case flatten
  /// act(body(x) + shortcut(x)), act = ReLU where `relu`, else the identity; a shortcut of no layers is x itself.
  case residual(body: [LayerSpec], shortcut: [LayerSpec] = [], relu: Bool)
  /// Every `stride`-th pixel both ways, and channels of zeros around the present ones: the shortcut without weights (option A of
  /// He et al. 2016).
  case paddedShortcut(outChannels: Int, stride: Int)
  /// Squares of `size` x `size` pixels as tokens on a grid: features (row, column, channel) of the square.
  case patches(size: Int)
  /// Adds to each token the sines and cosines of its place on the grid.
  case positionEmbedding
  /// Multi-head self-attention from stacked queries, keys and values, 3 * heads * size features, to heads * size.
  case attention(heads: Int, size: Int)
}

/// Size of a sample on its way through a model: channels x height x width.
///
/// Tokens are on the grid of their patches: features x rows x columns.
public struct FeatureSize: Sendable, Hashable, CustomStringConvertible {
  /// Channels, or features of a vector or token.
  public var channels: Int
  /// Rows of an image; 1 for a vector.
  public var height: Int
  /// Columns of an image; 1 for a vector.
  public var width: Int
  /// Whether positions are tokens: vectors that layers work on one by one.
  public var isTokens: Bool

  /// A size; of a vector by default.
  public init(channels: Int, height: Int = 1, width: Int = 1, isTokens: Bool = false) {
    self.channels = channels
    self.height = height
    self.width = width
    self.isTokens = isTokens
  }

  /// The same positions with other channels.
  func with(channels: Int) -> FeatureSize {
    FeatureSize(channels: channels, height: height, width: width, isTokens: isTokens)
  }

  /// Positions a channel, or tokens: height * width.
  public var positions: Int { height * width }
  /// Numbers a sample.
  public var count: Int { channels * positions }
  public var description: String { "\(channels) x \(height) x \(width)" }
}

extension LayerSpec {
  /// The prefix of its parameters' names, if it has any of its own.
  var name: String? {
    switch self {
    case .convolution(let name, _, _, _), .linear(let name, _, _), .batchNorm(let name, _), .layerNorm(let name):
      name
    default: nil
    }
  }

  /// The size that the layer makes of `input`.
  ///
  /// - Throws: `EspalierError.usage` where the layer does not fit.
  func output(of input: FeatureSize) throws -> FeatureSize {
    try requireTokens(input)
    switch self {
    case .convolution(_, let outChannels, let geometry, _):
      let (height, width) = try geometry.outputSize(height: input.height, width: input.width)
      return FeatureSize(channels: outChannels, height: height, width: width)
    case .linear(_, let outputs, _):
      return input.isTokens ? input.with(channels: outputs) : FeatureSize(channels: outputs)
    case .maxPool(let geometry), .averagePool(let geometry):
      let (height, width) = try geometry.outputSize(height: input.height, width: input.width)
      return FeatureSize(channels: input.channels, height: height, width: width)
    case .adaptiveAveragePool(let height, let width):
      return FeatureSize(channels: input.channels, height: height, width: width)
    case .globalAveragePool:
      return FeatureSize(channels: input.channels)
    case .flatten:
      return FeatureSize(channels: input.count)
    case .residual(let body, let shortcut, _):
      let (output, skipped) = (try body.output(of: input), try shortcut.output(of: input))
      guard output == skipped else {
        throw EspalierError.usage("residual block: its body makes \(output) of \(input), its shortcut \(skipped)")
      }
      return output
    case .paddedShortcut(let outChannels, let stride):
      guard stride > 0, outChannels >= input.channels, (outChannels - input.channels) % 2 == 0 else {
        throw EspalierError.usage(
          "shortcut: stride \(stride) from \(input.channels) to \(outChannels) channels; expected a positive stride and as many new channels on either side"
        )
      }
      return FeatureSize(
        channels: outChannels, height: (input.height - 1) / stride + 1, width: (input.width - 1) / stride + 1)
    case .patches(let size):
      guard size > 0, input.height % size == 0, input.width % size == 0 else {
        throw EspalierError.usage(
          "patches: \(input.height) x \(input.width) pixels do not divide into squares of \(size) x \(size)")
      }
      return FeatureSize(
        channels: input.channels * size * size, height: input.height / size, width: input.width / size, isTokens: true)
    case .positionEmbedding:
      guard input.channels % 4 == 0, input.channels >= 8 else {
        throw EspalierError.usage(
          "position embedding: \(input.channels) channels; expected a multiple of 4 that is at least 8")
      }
      return input
    case .attention(let heads, let size):
      guard heads > 0, size > 0, input.channels == 3 * heads * size else {
        throw EspalierError.usage(
          "attention: \(input.channels) channels; \(heads) heads of \(size) take \(3 * heads * size)")
      }
      return input.with(channels: heads * size)
    case .batchNorm, .layerNorm, .relu, .gelu, .dropout:
      return input
    }
  }

  /// Refuses tokens for what takes images, and images for what takes tokens.
  private func requireTokens(_ input: FeatureSize) throws {
    let kind: (name: String, takesTokens: Bool)? =
      switch self {
      case .convolution(let name, _, _, _): ("convolution: \(name)", false)
      case .batchNorm(let name, _): ("batch normalisation: \(name)", false)
      case .maxPool, .averagePool, .adaptiveAveragePool: ("pooling", false)
      case .paddedShortcut: ("shortcut", false)
      case .patches: ("patches", false)
      case .positionEmbedding: ("position embedding", true)
      case .attention: ("attention", true)
      case .layerNorm(let name) where input.positions > 1: ("layer normalisation: \(name)", true)
      default: nil
      }
    guard let kind, kind.takesTokens != input.isTokens else { return }
    throw EspalierError.usage(
      "\(kind.name): expected \(kind.takesTokens ? "tokens" : "images"), found \(kind.takesTokens ? "images" : "tokens") of \(input)"
    )
  }

  /// The layer's own weights, if it has any.
  func weightLayer(input: FeatureSize, index: Int) throws -> WeightLayer? {
    switch self {
    case .convolution(let name, let outChannels, let geometry, let bias):
      let shape = SparseLayerShape(
        name: name, rows: outChannels, inChannels: input.channels, kernelHeight: geometry.kernelHeight,
        kernelWidth: geometry.kernelWidth, isConvolution: true)
      let positions = try output(of: input).positions
      return WeightLayer(shape: shape, kind: .convolution(geometry), hasBias: bias, positions: positions, index: index)
    case .linear(let name, let outputs, let bias):
      let shape = SparseLayerShape(
        name: name, rows: outputs, inChannels: input.isTokens ? input.channels : input.count)
      return WeightLayer(
        shape: shape, kind: .linear, hasBias: bias, positions: input.isTokens ? input.positions : 1, index: index)
    default:
      return nil
    }
  }

  /// The layer's own biases and norm parameters: what stays dense.
  func denseParameters(input: FeatureSize) -> Int {
    switch self {
    case .convolution(_, let outputs, _, let bias), .linear(_, let outputs, let bias):
      bias ? outputs : 0
    case .batchNorm, .layerNorm: 2 * input.channels
    default: 0
    }
  }
}

extension [LayerSpec] {
  /// The size that the layers, one after the other, make of `input`.
  func output(of input: FeatureSize) throws -> FeatureSize {
    try reduce(input) { try $1.output(of: $0) }
  }

  /// Shows each layer with its input's size, in order; of a residual block its body, then its shortcut, in place of itself.
  func visit(input: FeatureSize, _ body: (LayerSpec, FeatureSize) throws -> Void) throws {
    var size = input
    for layer in self {
      if case .residual(let inner, let shortcut, _) = layer {
        try inner.visit(input: size, body)
        try shortcut.visit(input: size, body)
      } else {
        try body(layer, size)
      }
      size = try layer.output(of: size)
    }
  }
}
