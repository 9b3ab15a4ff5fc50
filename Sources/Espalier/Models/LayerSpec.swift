import EspalierCore
import EspalierTopology

/// One layer of a model's description: plain data, from which layers are made and costs counted without making any.
public enum LayerSpec: Sendable, Hashable {
  case convolution(name: String, outChannels: Int, geometry: ConvolutionGeometry, bias: Bool = true)
  case linear(name: String, outputs: Int, bias: Bool = true)
  /// Batch normalisation, with a ReLU in the same pass where `relu`.
  case batchNorm(name: String, relu: Bool = false)
  case relu
  case maxPool(PoolGeometry)
  case averagePool(PoolGeometry)
  case dropout(probability: Float)
  case flatten
}

/// Size of a sample on its way through a model: channels x height x width.
public struct FeatureSize: Sendable, Hashable {
  public var channels: Int
  public var height: Int
  public var width: Int

  public init(channels: Int, height: Int = 1, width: Int = 1) {
    self.channels = channels
    self.height = height
    self.width = width
  }

  public var count: Int { channels * height * width }
}

/// A layer with weights, as it stands in a model.
public struct WeightLayer: Sendable, Hashable {
  public let shape: SparseLayerShape
  /// nil for a linear layer.
  public let geometry: ConvolutionGeometry?
  public let hasBias: Bool
  /// Output positions a sample (P): how often each weight is used.
  public let positions: Int
  /// Its number among the model's weight layers.
  public let index: Int

  /// The forward pass's floating-point operations a sample with `connections` weights; a multiply-add counts 2.
  public func forwardFlops(connections: Int) -> Int { 2 * connections * positions }
}

extension LayerSpec {
  /// The prefix of its parameters' names, if it has any.
  var name: String? {
    switch self {
    case .convolution(let name, _, _, _), .linear(let name, _, _), .batchNorm(let name, _): name
    case .relu, .maxPool, .averagePool, .dropout, .flatten: nil
    }
  }

  /// The size that the layer makes of `input`.
  ///
  /// - Throws: `EspalierError.usage` where the layer does not fit.
  func output(of input: FeatureSize) throws -> FeatureSize {
    switch self {
    case .convolution(_, let outChannels, let geometry, _):
      let (height, width) = try geometry.outputSize(height: input.height, width: input.width)
      return FeatureSize(channels: outChannels, height: height, width: width)
    case .linear(_, let outputs, _):
      return FeatureSize(channels: outputs)
    case .maxPool(let geometry), .averagePool(let geometry):
      let (height, width) = try geometry.outputSize(height: input.height, width: input.width)
      return FeatureSize(channels: input.channels, height: height, width: width)
    case .flatten:
      return FeatureSize(channels: input.count)
    case .batchNorm, .relu, .dropout:
      return input
    }
  }

  /// The layer's weights, if it has any.
  func weightLayer(input: FeatureSize, index: Int) throws -> WeightLayer? {
    switch self {
    case .convolution(let name, let outChannels, let geometry, let bias):
      let shape = SparseLayerShape(
        name: name, rows: outChannels, inChannels: input.channels, kernelHeight: geometry.kernelHeight,
        kernelWidth: geometry.kernelWidth)
      let size = try output(of: input)
      return WeightLayer(
        shape: shape, geometry: geometry, hasBias: bias, positions: size.height * size.width, index: index)
    case .linear(let name, let outputs, let bias):
      let shape = SparseLayerShape(name: name, rows: outputs, inChannels: input.count)
      return WeightLayer(shape: shape, geometry: nil, hasBias: bias, positions: 1, index: index)
    case .batchNorm, .relu, .maxPool, .averagePool, .dropout, .flatten:
      return nil
    }
  }

  /// Biases and norm parameters: what stays dense.
  func denseParameters(input: FeatureSize) -> Int {
    switch self {
    case .convolution(_, let outChannels, _, let bias): bias ? outChannels : 0
    case .linear(_, let outputs, let bias): bias ? outputs : 0
    case .batchNorm: 2 * input.channels
    case .relu, .maxPool, .averagePool, .dropout, .flatten: 0
    }
  }
}
