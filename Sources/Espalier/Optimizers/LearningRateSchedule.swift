import Foundation

/// A learning rate that warms up linearly from 1e-4 of its base, a step at a time, and then decays; all in steps.
///
/// Steps count from 0, W is the number of warm-up steps. Below W the rate is what the decay gives, times 1e-4 + (1 - 1e-4) * step / W.
public struct LearningRateSchedule: Sendable, Hashable {
  /// How the rate gets smaller.
  public enum Decay: Sendable, Hashable {
    /// To a tenth at each milestone.
    case milestones([Int])
    /// base / 2 * (1 + cos(pi * (step - W) / (end - W))) from W on, zero from `end` on; base before. (PyTorch's `CosineAnnealingLR`
    /// with T_max = end - W after the warm-up.)
    case cosine(end: Int)
  }

  /// The rate after warm-up and before any decay.
  public let base: Double
  /// Steps of warm-up; 0 for none.
  public let warmupSteps: Int
  /// How the rate gets smaller.
  public let decay: Decay

  /// A schedule; constant by default.
  public init(base: Double, warmupSteps: Int = 0, decay: Decay = .milestones([])) {
    self.base = base
    self.warmupSteps = warmupSteps
    self.decay = decay
  }

  /// The rate of `step`, counted from 0.
  public func rate(at step: Int) -> Double {
    let rate = decayed(at: step)
    guard step < warmupSteps else { return rate }
    return rate * (1e-4 + (1 - 1e-4) * Double(step) / Double(warmupSteps))
  }

  private func decayed(at step: Int) -> Double {
    switch decay {
    case .milestones(let milestones):
      return milestones.reduce(base) { step >= $1 ? $0 * 0.1 : $0 }
    case .cosine(let end):
      guard step < end else { return 0 }
      guard step > warmupSteps else { return base }
      return base / 2 * (1 + cos(Double.pi * Double(step - warmupSteps) / Double(end - warmupSteps)))
    }
  }
}
