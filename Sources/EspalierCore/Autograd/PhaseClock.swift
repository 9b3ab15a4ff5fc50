import Glibc

/// What a training step spends its time on.
public enum TrainingPhase: Int, CaseIterable, Sendable {
  /// Waiting for a batch and packing it.
  case data
  /// The model and the loss.
  case forward
  /// The backward pass but for the phases below: gradients of activations, biases and norms. Sparse layers whose
  /// inputs need a gradient make those of their weights on the way, which count here.
  case inputGradient
  /// Gradients of sparse weights at their connections where no other is made on the way, or of dense weights.
  case weightGradient
  /// Looking for connections and moving them.
  case growth
  /// Looking for gradients that are not finite, clipping, accumulation, the optimizer.
  case optimizer

  /// E.g. `input-gradient`.
  public var name: String {
    switch self {
    case .inputGradient: "input-gradient"
    case .weightGradient: "weight-gradient"
    case .data, .forward, .growth, .optimizer: "\(self)"
    }
  }
}

/// Adds up how long each phase of training takes, and the most memory that it has in use.
///
/// Phases may lie within each other: time counts for the innermost. Costs some 100 ns a change of phase.
public final class PhaseClock {
  /// By `TrainingPhase.rawValue`.
  public private(set) var seconds: [Double]
  /// Bytes of weights and their state, and of activations and workspaces in use, at most; by `TrainingPhase.rawValue`.
  public private(set) var peakBytes: [Int]
  private let context: ComputeContext
  private var current: TrainingPhase?
  private var since = 0

  /// A clock that stands still.
  ///
  /// - Parameters:
  ///   - context: whose meter and pool are read.
  ///   - seconds: sums to go on from, by `TrainingPhase.rawValue`; empty for none.
  ///   - peakBytes: maxima to go on from, by `TrainingPhase.rawValue`; empty for none.
  public init(context: ComputeContext, seconds: [Double] = [], peakBytes: [Int] = []) {
    let count = TrainingPhase.allCases.count
    self.seconds = seconds.count == count ? seconds : [Double](repeating: 0, count: count)
    self.peakBytes = peakBytes.count == count ? peakBytes : [Int](repeating: 0, count: count)
    self.context = context
  }

  /// Runs `body` and counts its time, and what it has in use, as `phase`'s.
  public func measure<R>(_ phase: TrainingPhase, _ body: () throws -> R) rethrows -> R {
    let outer = change(to: phase)
    defer { _ = change(to: outer) }
    return try body()
  }

  /// - Returns: the phase until now.
  private func change(to phase: TrainingPhase?) -> TrainingPhase? {
    let now = Self.nanoseconds
    let bytes = context.pool.takePeakInUse() + context.meter.takePeakWeightBytes()
    if let current {
      seconds[current.rawValue] += Double(now - since) * 1e-9
      peakBytes[current.rawValue] = max(peakBytes[current.rawValue], bytes)
    }
    defer { (current, since) = (phase, now) }
    return current
  }

  private static var nanoseconds: Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }
}

extension Tape {
  /// Runs `body` as a part of `phase`, where a clock runs.
  package func measure<R>(_ phase: TrainingPhase, _ body: () throws -> R) rethrows -> R {
    guard let phases else { return try body() }
    return try phases.measure(phase, body)
  }
}
