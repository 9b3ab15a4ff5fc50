import Foundation

/// When connections move, and what fraction of them.
public struct UpdateSchedule: Sendable, Hashable {
  /// Steps between updates (T).
  public let interval: Int
  /// The step from which nothing moves any more (T_end).
  public let end: Int
  /// Fraction at step 0 (alpha).
  public let fraction: Double
  /// Fraction that the cosine falls to (0 by default; `fraction` itself for a constant).
  public let finalFraction: Double

  /// Moves `fraction` of the connections at first, `finalFraction` at last, every `interval` steps until `end`.
  public init(interval: Int, end: Int, fraction: Double, finalFraction: Double = 0) {
    precondition(interval > 0)
    self.interval = interval
    self.end = end
    self.fraction = fraction
    self.finalFraction = finalFraction
  }

  /// Whether `step`, counted from 0, is an update: every `interval` steps, not at 0, and while something moves.
  public func isUpdate(step: Int) -> Bool { step > 0 && step < end && step % interval == 0 }

  /// The fraction to move at `step`: alpha / 2 * (1 + cos(pi * step / T_end)), 0 from T_end on (Dettmers & Zettlemoyer 2019;
  /// GSE, Algorithm 2). With a final fraction the cosine falls to that.
  public func fraction(at step: Int) -> Double {
    guard step < end else { return 0 }
    return finalFraction + (fraction - finalFraction) / 2 * (1 + cos(Double.pi * Double(step) / Double(end)))
  }

  /// Number of connections of `active` to move at `step`: ceil(alpha_t * active).
  public func count(of active: Int, at step: Int) -> Int {
    min(active, Int((fraction(at: step) * Double(active)).rounded(.up)))
  }

  /// The last update before the end; 0 where there is none.
  public var lastUpdate: Int { max(0, (end - 1) / interval * interval) }

  /// Number of updates of a run of `steps` steps.
  public func updates(inSteps steps: Int) -> Int { max(0, (min(steps, end) - 1) / interval) }
}
