import Espalier
import EspalierCore
import EspalierTopology
import Foundation

/// Lottery tickets by iterative magnitude pruning with rewinding (Frankle & Carbin, arXiv 1803.03635, section 2): train, prune the smallest weights, set the
/// others back to what they were at an early step, and train again, several rounds.
///
/// After round i of n the fraction (1 - s)^(i / (n - 1)) is left, so that the last round trains a network of sparsity s. Weights, biases, norms and running
/// statistics are rewound to the start of step `rewindStep` of the first round: 0 is the original paper; deep networks need a later one (Frankle, Dziugaite, Roy,
/// Carbin, arXiv 1903.01611). Each round is a whole training, with the learning rate's schedule and the optimizer anew; the order of samples goes on.
///
/// Materialises all of a dense network in every round: weights, gradient, optimizer state, a copy of the weights to rewind to, and a bit a weight.
/// Operations are those of all rounds.
///
/// Departures: every layer keeps at least one weight, and the last layer is pruned as the others are.
public final class LotteryTickets: DenseMethod {
  /// Trainings in a row.
  public let rounds: Int
  private let weights: MaskedWeights
  private let stepsPerRound: Int
  private let rewindStep: Int
  private let sparsity: Double
  private let scope: SelectionScope
  private let state: [StateTensor]
  private let copies: [MeteredBuffer<Float>]

  /// - Parameters:
  ///   - model: has dense weights.
  ///   - scope: every layer to the same sparsity, or the smallest weights of the network, as the paper does for its deep ones.
  /// - Throws: `EspalierError.usage` for fewer than two rounds, a step to rewind to outside of a round, or a sparsity that leaves fewer weights than
  ///   layers.
  public init(
    _ model: Model, rounds: Int, stepsPerRound: Int, rewindStep: Int = 0, sparsity: Double,
    scope: SelectionScope = .local, context: ComputeContext
  ) throws {
    guard rounds >= 2 else {
      throw EspalierError.usage("rounds: \(rounds) is out of range; expected at least 2: pruning is between rounds")
    }
    guard (0..<stepsPerRound).contains(rewindStep) else {
      throw EspalierError.usage(
        "rewind-step: \(rewindStep) is out of range; expected 0 to \(stepsPerRound - 1), a step of the first round")
    }
    weights = try MaskedWeights(model, context: context)
    _ = try UniformDistribution().budgets(for: weights.shapes, sparsity: sparsity)
    (self.rounds, self.stepsPerRound, self.rewindStep) = (rounds, stepsPerRound, rewindStep)
    (self.sparsity, self.scope) = (sparsity, scope)
    state = model.state
    copies = state.map { tensor in
      let count =
        switch tensor {
        case .dense(_, _, let values): values.count
        case .sparse: 0
        }
      return .zeros(count: count, tag: .dense, site: nil, meter: context.meter)
    }
    capture()
  }

  public var tensors: [(name: String, values: MeteredBuffer<Float>)] {
    zip(state, copies).map { ("rewind." + $0.name, $1) }
  }

  /// The sparsity that a round, counted from 0, trains at.
  public func sparsity(ofRound round: Int) -> Double {
    round >= rounds - 1 ? sparsity : 1 - pow(1 - sparsity, Double(round) / Double(rounds - 1))
  }

  public func willStep(_ step: Int) throws -> UpdateRecord? {
    if step == rewindStep { capture() }
    guard step > 0, step % stepsPerRound == 0, step / stepsPerRound < rounds else { return nil }
    let record = try weights.prune(to: sparsity(ofRound: step / stepsPerRound), scope: scope, step: step + 1)
    rewind()
    return record
  }

  public func willMoveWeights() { weights.clearGradients() }
  public func didStep(_ step: Int) -> UpdateRecord? { nil }

  private func capture() {
    for case (.dense(_, _, let values), let copy) in zip(state, copies) {
      copy.pointer.update(from: values.pointer, count: values.count)
    }
  }

  private func rewind() {
    for case (.dense(_, _, let values), let copy) in zip(state, copies) {
      values.pointer.update(from: copy.pointer, count: values.count)
    }
    weights.clear(optimizer: false)
  }
}
