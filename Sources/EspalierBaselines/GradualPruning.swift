import Espalier
import EspalierCore
import EspalierTopology
import Foundation

/// Gradual magnitude pruning (Zhu & Gupta, arXiv 1710.01878, section 3): every `interval` steps the smallest weights go, until the sparsity is that of
/// a schedule; what is gone stays gone.
///
/// Materialises all of a dense network: weights, gradient, optimizer state, and a bit a weight. Time: dense steps, and at prunings a selection in
/// O(weights). The last pruning is at the schedule's end exactly, and to the final number of weights exactly (the code of Heddes et al. stops at the last
/// multiple of the interval before it, 3.5 % of the weights short).
///
/// Departure: every layer keeps at least one weight.
public final class GradualPruning: DenseMethod {
  /// How the sparsity rises from 0 at step 0 to the final one, s, at the end.
  public enum Decay: String, Sendable, CaseIterable, Codable {
    /// s (1 - (1 - t / end)^3), the paper's equation 1.
    case cubic
    /// s / 2 (1 - cos(pi t / end)), as in the code of Heddes et al., arXiv 2401.06898.
    case cosine
  }

  private let weights: MaskedWeights
  private let interval: Int
  private let end: Int
  private let sparsity: Double
  private let decay: Decay
  private let scope: SelectionScope

  /// - Parameters:
  ///   - model: has dense weights.
  ///   - scope: every layer to the same sparsity, as in the paper, or the smallest weights of the network.
  /// - Throws: `EspalierError.usage` where there is no step to prune at, or the sparsity leaves fewer weights than layers.
  public init(
    _ model: Model, schedule: UpdateSchedule, sparsity: Double, decay: Decay = .cubic, scope: SelectionScope = .local,
    context: ComputeContext
  ) throws {
    guard schedule.end > 0 else {
      throw EspalierError.usage("update-until: method gradual prunes until then; expected a fraction above 0")
    }
    weights = try MaskedWeights(model, context: context)
    _ = try UniformDistribution().budgets(for: weights.shapes, sparsity: sparsity)
    (interval, end) = (schedule.interval, schedule.end)
    (self.sparsity, self.decay, self.scope) = (sparsity, decay, scope)
  }

  /// The sparsity after `steps` steps.
  public func sparsity(after steps: Int) -> Double {
    let progress = min(1, Double(steps) / Double(end))
    return switch decay {
    case .cubic: sparsity * (1 - pow(1 - progress, 3))
    case .cosine: steps >= end ? sparsity : sparsity / 2 * (1 - cos(Double.pi * progress))
    }
  }

  public func willMoveWeights() { weights.clearGradients() }

  public func didStep(_ step: Int) throws -> UpdateRecord? {
    let steps = step + 1
    guard steps == end || (steps < end && steps % interval == 0) else { return nil }
    return try weights.prune(to: sparsity(after: steps), scope: scope, step: steps)
  }
}
