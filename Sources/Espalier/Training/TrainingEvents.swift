import EspalierCore

/// One step, as it is logged.
public struct StepRecord: Sendable {
  /// Counted from 1.
  public let step: Int
  /// Fraction of the way: epochs done.
  public let epoch: Double
  /// The batch's mean loss, before its update.
  public let trainLoss: Double
  public let trainAccuracy: Double
  public let learningRate: Double
  public let imagesPerSecond: Double
}

/// One layer's part in an update of the topology.
public struct LayerUpdateRecord: Sendable, Encodable {
  public let name: String
  public let nnz: Int
  /// Inactive connections that the updater compared: GSE's subset; all of them where the whole gradient was streamed.
  public let candidates: Int
  public let grown: Int
  public let pruned: Int
  /// Outputs without a connection.
  public let emptyRows: Int
  /// Inputs without a connection.
  public let emptyColumns: Int
  /// Fraction of the layer's possible connections that were ever active; nil where counting them would take too much memory.
  public let explorationRate: Double?

  package init(
    name: String, nnz: Int, candidates: Int, grown: Int, pruned: Int, emptyRows: Int, emptyColumns: Int,
    explorationRate: Double?
  ) {
    (self.name, self.nnz, self.candidates, self.grown, self.pruned) = (name, nnz, candidates, grown, pruned)
    (self.emptyRows, self.emptyColumns, self.explorationRate) = (emptyRows, emptyColumns, explorationRate)
  }
}

/// One update of the topology.
public struct UpdateRecord: Sendable {
  /// The step that it took place in, counted from 1.
  public let step: Int
  /// Fraction of connections that the schedule moves.
  public let fraction: Double
  /// Time of the update itself: looking at the layers' gradients and moving connections, without the step's forward and backward pass;
  /// of updaters that move them after every step, this step's.
  public let seconds: Double
  public let layers: [LayerUpdateRecord]

  package init(step: Int, fraction: Double, seconds: Double, layers: [LayerUpdateRecord]) {
    (self.step, self.fraction, self.seconds, self.layers) = (step, fraction, seconds, layers)
  }

  public var nnz: Int { layers.reduce(0) { $0 + $1.nnz } }
  public var grown: Int { layers.reduce(0) { $0 + $1.grown } }
}

/// One epoch, with the verdicts of the test set and of the held-out part of the training set.
public struct EpochRecord: Sendable, Codable, Hashable {
  public let epoch: Int
  public let trainLoss: Double
  public let testLoss: Double
  public let testAccuracy: Double
  /// From 100 classes up.
  public let testTop5Accuracy: Double?
  /// Where some images are held out.
  public let validationLoss: Double?
  public let validationAccuracy: Double?

  package init(epoch: Int, trainLoss: Double, test: LossResult, validation: LossResult?) {
    self.epoch = epoch
    self.trainLoss = trainLoss
    testLoss = test.mean
    testAccuracy = test.accuracy
    testTop5Accuracy = test.topFiveAccuracy
    validationLoss = validation?.mean
    validationAccuracy = validation?.accuracy
  }
}

extension [EpochRecord] {
  /// The epoch of the highest validation accuracy; of equal ones that of the lowest validation loss, then the first. nil without
  /// validation.
  public var bestByValidation: EpochRecord? {
    func rank(_ record: EpochRecord) -> (Double, Double)? {
      guard let accuracy = record.validationAccuracy, let loss = record.validationLoss else { return nil }
      return (-accuracy, loss)
    }
    return compactMap { record in rank(record).map { (rank: $0, record: record) } }.min { $0.rank < $1.rank }?.record
  }
}

/// Is told what happens while a model trains. Runs on the training thread, outside of the time that counts.
public protocol TrainingObserver {
  /// After every step, so that progress can be shown; `isLogged` at the chosen interval.
  func didStep(_ record: StepRecord, isLogged: Bool) throws
  func didUpdateTopology(_ record: UpdateRecord) throws
  func didFinishEpoch(_ record: EpochRecord) throws
  /// Asked after every step: true ends the run before anything else happens, even an epoch's evaluation.
  var wantsStop: Bool { get }
  /// After a step with all that follows from it: the trainer's and the model's state are whole and may be saved.
  func mayCheckpoint(step: Int, endsEpoch: Bool) throws
}

extension TrainingObserver {
  public func didStep(_ record: StepRecord, isLogged: Bool) {}
  public func didUpdateTopology(_ record: UpdateRecord) {}
  public func didFinishEpoch(_ record: EpochRecord) {}
  public var wantsStop: Bool { false }
  public func mayCheckpoint(step: Int, endsEpoch: Bool) {}
}

struct NoObserver: TrainingObserver {}

/// What a run came to.
public struct TrainingResult: Sendable {
  /// Steps taken.
  public let steps: Int
  public let epochs: Int
  /// Whether the run went to its end, its last evaluation included, rather than being stopped.
  public let isFinished: Bool
  public let history: [EpochRecord]
  /// Wall time of steps and updates with their data loading.
  public let trainSeconds: Double
  /// Median over steps after the first three, updates included.
  public let stepMillisecondsMedian: Double
  /// Median over the steps that moved connections; nil where there was none.
  public let updateMillisecondsMedian: Double?
  public let imagesPerSecond: Double
  /// Floating-point operations a sample, averaged over the steps.
  public let trainFlopsPerSample: Double
  /// Fraction of all possible connections that were ever active; nil where counting them would have taken too much memory.
  public let explorationRate: Double?
  public let updates: Int

  public var testAccuracy: Double { history.last?.testAccuracy ?? 0 }
  public var testLoss: Double { history.last?.testLoss ?? 0 }
  public var testTop5Accuracy: Double? { history.last?.testTop5Accuracy }
}
