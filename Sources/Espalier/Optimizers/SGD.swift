import EspalierCore

/// Stochastic gradient descent with momentum and weight decay, as PyTorch's: g += wd * w; v = mu * v + g; w -= lr * v.
public struct SGD: Sendable {
  public let momentum: Float
  public let weightDecay: Float

  public init(momentum: Float = 0.9, weightDecay: Float = 1e-4) {
    self.momentum = momentum
    self.weightDecay = weightDecay
  }

  /// Moves the parameters along their gradients. Allocates the state of those that have none yet.
  public func step(_ parameters: [any Parameter], learningRate: Float, context: ComputeContext) {
    for parameter in parameters {
      if parameter.optimizerState.isEmpty { parameter.optimizerState = [parameter.makeOptimizerState()] }
      let gradient = parameter.gradient.pointer
      let velocity = parameter.optimizerState[0].pointer
      parameter.withMutableValues { values in
        context.sgd(
          values, gradient: gradient, velocity: velocity, learningRate: learningRate, momentum: momentum,
          weightDecay: weightDecay)
      }
    }
  }
}
