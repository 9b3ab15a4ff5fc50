import EspalierCore

/// Normalisation over the features of each token.
public struct LayerNorm: Layer {
  public let layerNorm: LayerNormState
  public init(_ layerNorm: LayerNormState) { self.layerNorm = layerNorm }
  public var parameters: [any Parameter] { [layerNorm.scale, layerNorm.shift] }
  public var state: [StateTensor] { [layerNorm.scale.state, layerNorm.shift.state] }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.layerNorm(x, layerNorm) }
}

/// x * Phi(x), with the normal distribution's Phi.
public struct GELU: Layer {
  public init() {}
  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.gelu(x) }
}

/// Squares of pixels as tokens on a grid.
public struct Patches: Layer {
  public let size: Int
  public init(size: Int) { self.size = size }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.patches(x, size: size) }
}

/// Adds to each token its position's sines and cosines.
public struct AddPositionEmbedding: Layer {
  public let embedding: PositionEmbedding
  public init(_ embedding: PositionEmbedding) { self.embedding = embedding }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.addPositionEmbedding(x, embedding)
  }
}

/// Multi-head self-attention on stacked queries, keys and values.
public struct Attention: Layer {
  public let heads: Int
  /// Of each head.
  public let size: Int

  public init(heads: Int, size: Int) {
    self.heads = heads
    self.size = size
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.attention(x, heads: heads, size: size)
  }
}
