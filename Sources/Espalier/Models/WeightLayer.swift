import EspalierCore
import EspalierTopology

/// A layer with weights, as it stands in a model.
public struct WeightLayer: Sendable, Hashable {
  /// What the weights are applied to.
  public enum Kind: Sendable, Hashable {
    /// To all of a sample's numbers, or of each token's.
    case linear
    /// To each window of an image.
    case convolution(ConvolutionGeometry)
  }

  /// Size of the weights' dense form.
  public let shape: SparseLayerShape
  /// What the weights are applied to.
  public let kind: Kind
  /// Whether one number an output is added.
  public let hasBias: Bool
  /// Output positions, or tokens, a sample (P): how often each weight is used.
  public let positions: Int
  /// Its number among the model's weight layers.
  public let index: Int

  /// As a convolution; nil for a linear layer.
  public var geometry: ConvolutionGeometry? {
    switch kind {
    case .linear: nil
    case .convolution(let geometry): geometry
    }
  }

  /// The dense weights' shape in PyTorch: [outputs, inputs] or [outputs, channels, kernel height, kernel width].
  public var denseShape: [Int] {
    guard case .convolution(let geometry) = kind else { return [shape.rows, shape.columns] }
    return [shape.rows, shape.inChannels, geometry.kernelHeight, geometry.kernelWidth]
  }

  /// The forward pass's floating-point operations a sample with `connections` weights; a multiply-add counts 2.
  public func forwardFlops(connections: Int) -> Int { 2 * connections * positions }
}
