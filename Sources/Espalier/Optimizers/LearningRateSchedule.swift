/// A learning rate that warms up linearly from 1e-4 of its base and drops to a tenth at each milestone; all in steps.
public struct LearningRateSchedule: Sendable, Hashable {
  public let base: Double
  public let warmupSteps: Int
  public let milestones: [Int]

  public init(base: Double, warmupSteps: Int = 0, milestones: [Int] = []) {
    self.base = base
    self.warmupSteps = warmupSteps
    self.milestones = milestones
  }

  /// The rate of `step`, counted from 0.
  public func rate(at step: Int) -> Double {
    let drops = milestones.count { step >= $0 }
    var rate = base
    for _ in 0..<drops { rate *= 0.1 }
    guard step < warmupSteps else { return rate }
    return rate * (1e-4 + (1 - 1e-4) * Double(step) / Double(warmupSteps))
  }
}
