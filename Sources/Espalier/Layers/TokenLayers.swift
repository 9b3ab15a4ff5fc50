import EspalierCore

/// A layer that takes each token by itself, and so can be a link of a chain.
protocol TokenLayer: Layer {
  var link: TokenLink { get }
}

/// Token layers, one after the other, as one operation.
struct TokenChain: Layer {
  let layers: [any TokenLayer]

  var parameters: [any Parameter] { layers.flatMap(\.parameters) }
  var state: [StateTensor] { layers.flatMap(\.state) }
  /// Whether something can be added to its output on the way.
  var endsLinear: Bool { layers.last is SparseLinear }

  func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.tokenChain(x, layers.map(\.link))
  }

  func callAsFunction(_ x: Variable, adding residual: Variable, on tape: Tape) throws -> Variable {
    try tape.tokenChain(x, layers.map(\.link), adding: residual)
  }

  /// Layers with those of them that take tokens, and lie side by side, made one where a sparse layer is among them.
  static func joining(_ layers: [any Layer]) -> [any Layer] {
    var result: [any Layer] = []
    var run: [any TokenLayer] = []
    func end() {
      if run.contains(where: { $0 is SparseLinear }) { result.append(TokenChain(layers: run)) } else { result += run }
      run = []
    }
    for layer in layers {
      if let token = layer as? any TokenLayer, !(run.isEmpty && layer is GELU), run.count < Tape.longestTokenChain {
        run.append(token)
      } else {
        end()
        result.append(layer)
      }
    }
    end()
    return result
  }
}

/// Normalisation over the features of each token.
public struct LayerNorm: TokenLayer {
  var link: TokenLink { .norm(layerNorm) }
  /// Scale and shift.
  public let layerNorm: LayerNormState
  /// The layer of this state, which it shares.
  public init(_ layerNorm: LayerNormState) { self.layerNorm = layerNorm }
  public var parameters: [any Parameter] { [layerNorm.scale, layerNorm.shift] }
  public var state: [StateTensor] { [layerNorm.scale.state, layerNorm.shift.state] }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.layerNorm(x, layerNorm) }
}

/// x * Phi(x), with the normal distribution's Phi.
public struct GELU: TokenLayer {
  var link: TokenLink { .gelu }
  /// A GELU.
  public init() {}
  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.gelu(x) }
}

/// Squares of pixels as tokens on a grid.
public struct Patches: Layer {
  /// Pixels along each side of a square.
  public let size: Int
  /// Squares of `size` x `size` pixels.
  public init(size: Int) { self.size = size }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.patches(x, size: size) }
}

/// Adds to each token its position's sines and cosines.
public struct AddPositionEmbedding: Layer {
  /// The numbers that are added.
  public let embedding: PositionEmbedding
  /// A layer that adds this table.
  public init(_ embedding: PositionEmbedding) { self.embedding = embedding }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.addPositionEmbedding(x, embedding)
  }
}

/// Multi-head self-attention on stacked queries, keys and values.
public struct Attention: Layer {
  /// Number of heads.
  public let heads: Int
  /// Of each head.
  public let size: Int

  /// `heads` heads of `size` features each; takes 3 * heads * size features a token.
  public init(heads: Int, size: Int) {
    self.heads = heads
    self.size = size
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.attention(x, heads: heads, size: size)
  }
}
