import EspalierCore

/// act(body(x) + shortcut(x)), act = ReLU where `relu` (He et al. 2016).
///
/// Where the body ends in a batch norm, norm, addition and activation are one operation; where it ends in a linear layer of tokens,
/// that and the addition are.
public struct Residual: Layer {
  /// The layers beside the shortcut, in order.
  public let body: [any Layer]
  /// Empty for the identity.
  public let shortcut: [any Layer]
  /// Whether a ReLU follows the addition.
  public let relu: Bool
  /// The body's end, where that is a norm that the addition can be fused with.
  private let norm: BatchNorm?
  /// The same of a chain of token layers.
  private let chain: TokenChain?

  /// A block whose `body` and `shortcut` make the same shape of their input.
  public init(body: [any Layer], shortcut: [any Layer], relu: Bool) {
    self.body = body
    self.shortcut = shortcut
    self.relu = relu
    norm = (body.last as? BatchNorm).flatMap { $0.relu ? nil : $0 }
    chain = (body.last as? TokenChain).flatMap { $0.endsLinear && !relu ? $0 : nil }
  }

  public var parameters: [any Parameter] { (body + shortcut).flatMap(\.parameters) }
  public var state: [StateTensor] { (body + shortcut).flatMap(\.state) }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    var y = x
    for layer in norm == nil && chain == nil ? body[...] : body.dropLast() { y = try layer(y, on: tape) }
    var skip = x
    for layer in shortcut { skip = try layer(skip, on: tape) }
    if let norm { return try tape.batchNorm(y, norm.batchNorm, relu: relu, adding: skip) }
    if let chain { return try chain(y, adding: skip, on: tape) }
    let sum = tape.add(y, skip)
    return relu ? tape.relu(sum) : sum
  }
}

/// Every `stride`-th pixel both ways between channels of zeros: a shortcut without weights.
public struct PaddedShortcut: Layer {
  /// Channels of the result, zeros among them.
  public let outChannels: Int
  /// Pixels from one kept pixel to the next, both ways.
  public let stride: Int

  /// A shortcut to `outChannels`, which exceeds the input's channels by an even number.
  public init(outChannels: Int, stride: Int) {
    self.outChannels = outChannels
    self.stride = stride
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.paddedShortcut(x, outChannels: outChannels, stride: stride)
  }
}
