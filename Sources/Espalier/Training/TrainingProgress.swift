/// How far a run has come, and its sums on the way: with the model and the optimizer's state, all that the rest of the run depends on.
///
/// The position in the data follows from `step`, and everything random from the seed and `step`.
public struct TrainingProgress: Sendable, Codable, Hashable {
  /// Steps taken.
  public internal(set) var step = 0
  /// Steps that the optimizer took: those that no update replaced.
  public internal(set) var optimizerSteps = 0
  /// Updates of the topology.
  public internal(set) var updates = 0
  /// Sum of the losses of the present epoch's steps.
  public internal(set) var epochLoss = 0.0
  /// Epochs that are finished and evaluated.
  public internal(set) var history: [EpochRecord] = []

  /// The most that the weights and their state took after any step (`Model.weightStateBytes`): more than at the end where a method begins
  /// with more connections than it ends with. Nil before the first step.
  public internal(set) var peakWeightStateBytes: Int?
  /// What choosing the connections before the first step took; nil where that was not done.
  public package(set) var start: StartCost?
  /// Wall time of the steps.
  public internal(set) var seconds = 0.0
  /// The same by phase, and the most bytes that each had in use; by `TrainingPhase.rawValue`. Absent in checkpoints of earlier versions.
  var phaseSeconds: [Double]?
  var phasePeakBytes: [Int]?
  /// Medians of the last process that trained.
  var stepMilliseconds = 0.0
  var updateMilliseconds: Double?
  /// Sum of the operations a sample, over `flopPasses` batches.
  var flops = 0.0
  var flopPasses = 0
  /// nil for a fixed topology.
  package var topology: TopologySnapshot?

  /// Before the first step.
  public init() {}
}

/// What a topology updater carries on, and what a run's records of it are made of.
package struct TopologySnapshot: Sendable, Codable, Hashable {
  var updater: [Double]
  /// The network's number of connections at the start.
  var connections: Int
  /// By layer, since the last record.
  var grown, pruned: [Int]
}
