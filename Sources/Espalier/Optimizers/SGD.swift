import EspalierCore

/// Stochastic gradient descent with momentum and weight decay, as PyTorch's: g += wd * w; v = mu * v + g; w -= lr * v.
public struct SGD: Optimizer {
  /// Fraction of the velocity that stays, a step (mu).
  public let momentum: Float
  /// Is multiplied with a weight and added to its gradient (wd).
  public let weightDecay: Float

  /// SGD with momentum and weight decay.
  public init(momentum: Float = 0.9, weightDecay: Float = 1e-4) {
    self.momentum = momentum
    self.weightDecay = weightDecay
  }

  public var stateNames: [String] { ["momentum_buffer"] }

  public func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext) {
    for parameter in parameters {
      prepare(parameter)
      let gradient = parameter.gradient.pointer
      let velocity = parameter.optimizerState[0].pointer
      parameter.withMutableValues { values in
        context.sgd(
          values, gradient: gradient, velocity: velocity, learningRate: Float(learningRate), momentum: momentum,
          weightDecay: Float(decay(Double(weightDecay), of: parameter, learningRate: learningRate)))
      }
    }
  }
}
