import EspalierCore

/// What a method that keeps dense weights does to them between steps: prunes, rewinds, grows.
///
/// The model's dense weights have masks (`VectorParameter.mask`), which checkpoints hold; so do they `tensors`.
public protocol DenseMethod: AnyObject {
  /// Before step `step`, counted from 0. What it returns says that training starts anew, with a new optimizer.
  func willStep(_ step: Int) throws -> UpdateRecord?
  /// Between the last backward pass of a step and the optimizer.
  func willMoveWeights()
  /// After a step of the optimizer; returns what it changed, if it did.
  func didStep(_ step: Int) throws -> UpdateRecord?
  /// Trainings in a row.
  var rounds: Int { get }
  /// Whether each step takes the gradient of all weights, dead ones among them.
  var takesDenseGradients: Bool { get }
  /// Fraction of all weights that ever lived; nil where that is not counted.
  var explorationRate: Double? { get }
  /// What it keeps beside model and masks, under names of its own.
  var tensors: [(name: String, values: MeteredBuffer<Float>)] { get }
}

extension DenseMethod {
  /// Does nothing.
  public func willStep(_ step: Int) throws -> UpdateRecord? { nil }
  /// One training.
  public var rounds: Int { 1 }
  /// Live weights alone.
  public var takesDenseGradients: Bool { false }
  /// All of them.
  public var explorationRate: Double? { 1 }
  /// None.
  public var tensors: [(name: String, values: MeteredBuffer<Float>)] { [] }
}
