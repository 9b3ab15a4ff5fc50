import EspalierCore

/// Adam with decoupled weight decay, as PyTorch's: w *= 1 - lr * wd; m += (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g^2;
/// w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon).
///
/// t counts the optimizer's steps, for all parameters alike. A grown connection starts with m = v = 0 at the present t, as it does in
/// RigL's and jaxpruner's code: late in training its first step is lr * (1 - b1) / sqrt(1 - b2), some 3.2 lr, in place of lr.
///
/// Source: Loshchilov & Hutter 2019 (arXiv 1711.05101), algorithm 2, with PyTorch's order of operations.
public struct AdamW: Optimizer {
  /// How much of the first moment stays, a step.
  public let beta1: Double
  /// How much of the second moment stays, a step.
  public let beta2: Double
  /// Is added to the root of the second moment.
  public let epsilon: Double
  /// Fraction of a weight that goes a step, times the learning rate.
  public let weightDecay: Double

  /// Adam with PyTorch's defaults.
  public init(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.01) {
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
  }

  public var stateNames: [String] { ["exp_avg", "exp_avg_sq"] }

  public func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext) {
    for parameter in parameters {
      prepare(parameter)
      let gradient = parameter.gradient.pointer
      let (first, second) = (parameter.optimizerState[0].pointer, parameter.optimizerState[1].pointer)
      parameter.withMutableValues { values in
        context.adamW(
          values, gradient: gradient, first: first, second: second, step: number, learningRate: learningRate,
          beta1: beta1, beta2: beta2, epsilon: epsilon,
          weightDecay: decay(weightDecay, of: parameter, learningRate: learningRate))
      }
    }
  }
}
