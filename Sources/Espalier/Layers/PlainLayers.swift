import EspalierCore

/// Batch normalisation, with a ReLU in the same pass where `relu`.
public struct BatchNorm: Layer {
  /// Scale, shift and running statistics.
  public let batchNorm: BatchNormState
  /// Whether a ReLU follows in the same pass.
  public let relu: Bool

  /// The layer of this state, which it shares.
  public init(_ batchNorm: BatchNormState, relu: Bool = false) {
    self.batchNorm = batchNorm
    self.relu = relu
  }

  public var parameters: [any Parameter] { [batchNorm.scale, batchNorm.shift] }
  public var state: [StateTensor] {
    let channels = [batchNorm.channels]
    return [
      batchNorm.scale.state, batchNorm.shift.state,
      .dense(name: batchNorm.name + ".running_mean", shape: channels, values: batchNorm.runningMean),
      .dense(name: batchNorm.name + ".running_var", shape: channels, values: batchNorm.runningVariance),
    ]
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.batchNorm(x, batchNorm, relu: relu)
  }
}

/// max(x, 0)
public struct ReLU: Layer {
  /// A ReLU.
  public init() {}
  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.relu(x) }
}

/// The maximum of each window.
public struct MaxPool: Layer {
  /// Window, stride and padding.
  public let geometry: PoolGeometry
  /// Maxima of these windows.
  public init(_ geometry: PoolGeometry) { self.geometry = geometry }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.maxPool(x, geometry) }
}

/// The mean of each window.
public struct AveragePool: Layer {
  /// Window, stride and padding.
  public let geometry: PoolGeometry
  /// Means of these windows.
  public init(_ geometry: PoolGeometry) { self.geometry = geometry }
  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable { try tape.averagePool(x, geometry) }
}

/// The mean of each of `height` x `width` equal shares of an image, whatever its size.
public struct AdaptiveAveragePool: Layer {
  /// Rows of the result.
  public let height: Int
  /// Columns of the result.
  public let width: Int

  /// A layer that makes images of `height` x `width`.
  public init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.adaptiveAveragePool(x, height: height, width: width)
  }
}

/// Each channel's mean over all positions, or tokens.
public struct GlobalAveragePool: Layer {
  /// A pool over whole images.
  public init() {}
  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.globalAveragePool(x) }
}

/// Inverted dropout in training, the identity in evaluation.
public struct Dropout: Layer {
  /// How likely a number is dropped.
  public let probability: Float
  /// Its number among the model's dropouts: keys its masks.
  public let index: Int
  /// Draws the masks, keyed by step and `index`.
  public let random: CounterRandom

  /// A dropout that is number `index` among its model's.
  public init(probability: Float, index: Int, random: CounterRandom) {
    self.probability = probability
    self.index = index
    self.random = random
  }

  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable {
    tape.dropout(x, probability: probability, index: index, random: random)
  }
}

/// Images as vectors: channels * height * width.
public struct Flatten: Layer {
  /// A reshape; no number moves.
  public init() {}
  public func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.flatten(x) }
}
