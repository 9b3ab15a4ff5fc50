import EspalierCore

/// Moves parameters along their gradients. A value: what it remembers of each number lies in the parameters' `optimizerState`, which
/// goes along when connections move (grown ones start with zeros), and which checkpoints hold.
///
/// One of your own is given to ``Trainer``. What it does to a number must depend on that number's gradient and state, the step's number and
/// the learning rate alone, else resumed runs are not equal to others.
public protocol Optimizer: Sendable {
  /// What the buffers of a parameter's state are called, in their order (as PyTorch calls them): under these names checkpoints have them.
  /// All different.
  var stateNames: [String] { get }

  /// One step. Allocates the state of parameters that have none yet.
  ///
  /// - Parameters:
  ///   - parameters: all that the model trains, in its order, each with the gradient of this step.
  ///   - number: the step's number among the optimizer's own, from 1: updates that take a step's place do not count.
  ///   - learningRate: of this step.
  ///   - context: what computes.
  func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext)
}

extension Optimizer {
  /// Gives zeros to a parameter without state, a buffer for each of `stateNames`: the first thing that a step does.
  public func prepare(_ parameter: any Parameter) {
    guard parameter.optimizerState.count != stateNames.count else { return }
    parameter.optimizerState = stateNames.map { _ in parameter.makeOptimizerState() }
  }

  /// The weight decay of one parameter: scaled as it wants, but never so that a step takes away more than there is.
  public func decay(_ weightDecay: Double, of parameter: any Parameter, learningRate: Double) -> Double {
    let scale = parameter.weightDecayScale
    return scale == 1 ? weightDecay : min(weightDecay * scale, 1 / learningRate)
  }
}

/// Which optimizer trains.
public enum OptimizerKind: String, Sendable, CaseIterable, Codable {
  /// Stochastic gradient descent with momentum: `SGD`.
  case sgd
  /// Adam with decoupled weight decay: `AdamW`.
  case adamw
}
