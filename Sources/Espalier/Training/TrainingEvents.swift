import EspalierCore

/// One step, as it is logged.
public struct StepRecord: Sendable {
  /// Counted from 1.
  public let step: Int
  /// Fraction of the way: epochs done.
  public let epoch: Double
  /// The batch's mean loss, before its update.
  public let trainLoss: Double
  /// Top-1 on the batch, as a fraction, before its update.
  public let trainAccuracy: Double
  /// The rate that the step took.
  public let learningRate: Double
  /// Smoothed over the last steps.
  public let imagesPerSecond: Double
}

/// One layer's part in an update of the topology.
public struct LayerUpdateRecord: Sendable, Codable {
  /// The layer's name, e.g. `features.0`.
  public let name: String
  /// Active connections after the update.
  public let nnz: Int
  /// Inactive connections that the updater compared: GSE's subset; all of them where the whole gradient was streamed.
  public let candidates: Int
  /// Connections that came.
  public let grown: Int
  /// Connections that went.
  public let pruned: Int
  /// Top-KAST's weights that are trained and not used, and those whose values it remembers; nil where it explores no more.
  public let backward: Int?
  /// Top-KAST's weights whose values it remembers; nil where it explores no more.
  public let remembered: Int?
  /// Outputs without a connection.
  public let emptyRows: Int
  /// Inputs without a connection.
  public let emptyColumns: Int
  /// With an audit: how many rows' whole gradient the update was compared with, the fraction of the largest gradients there that grew, and
  /// the rank correlation of the guide with the gradient's magnitude (see `GradientAudit`).
  public let auditedRows: Int?
  /// With an audit: the fraction of the largest gradients in the audited rows that grew.
  public let recall: Double?
  /// With an audit: the rank correlation of the guide with the gradient's magnitude.
  public let rankCorrelation: Double?
  /// Fraction of the layer's possible connections that were ever active; nil where counting them would take too much memory.
  public let explorationRate: Double?

  package init(
    name: String, nnz: Int, candidates: Int, grown: Int, pruned: Int, backward: Int? = nil, remembered: Int? = nil,
    emptyRows: Int, emptyColumns: Int, auditedRows: Int? = nil, recall: Double? = nil, rankCorrelation: Double? = nil,
    explorationRate: Double?
  ) {
    (self.name, self.nnz, self.candidates, self.grown, self.pruned) = (name, nnz, candidates, grown, pruned)
    (self.backward, self.remembered) = (backward, remembered)
    (self.emptyRows, self.emptyColumns, self.explorationRate) = (emptyRows, emptyColumns, explorationRate)
    (self.auditedRows, self.recall, self.rankCorrelation) = (auditedRows, recall, rankCorrelation)
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
  /// In the model's order.
  public let layers: [LayerUpdateRecord]

  package init(step: Int, fraction: Double, seconds: Double, layers: [LayerUpdateRecord]) {
    (self.step, self.fraction, self.seconds, self.layers) = (step, fraction, seconds, layers)
  }

  /// Active connections of all layers after the update.
  public var nnz: Int { layers.reduce(0) { $0 + $1.nnz } }
  /// Connections that came, in all layers.
  public var grown: Int { layers.reduce(0) { $0 + $1.grown } }
}

/// One epoch, with the verdicts of the test set and of the held-out part of the training set.
public struct EpochRecord: Sendable, Codable, Hashable {
  /// Counted from 1.
  public let epoch: Int
  /// Mean loss of the epoch's steps.
  public let trainLoss: Double
  /// Mean loss on the test set, after the epoch.
  public let testLoss: Double
  /// Top-1 on the test set, as a fraction.
  public let testAccuracy: Double
  /// From 100 classes up.
  public let testTop5Accuracy: Double?
  /// Where some images are held out.
  public let validationLoss: Double?
  /// Top-1 on the held-out images, as a fraction.
  public let validationAccuracy: Double?
  /// Active weights of all weight layers after the epoch; nil in records of earlier versions.
  public let nnz: Int?

  package init(epoch: Int, trainLoss: Double, test: LossResult, validation: LossResult?, nnz: Int?) {
    self.epoch = epoch
    self.trainLoss = trainLoss
    self.nnz = nnz
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
  ///
  /// Only epochs with the fewest active weights so far count: a network that is still to be pruned is not the one that was asked for.
  public var bestByValidation: EpochRecord? {
    let fewest = compactMap(\.nnz).min()
    func rank(_ record: EpochRecord) -> (Double, Double)? {
      guard let accuracy = record.validationAccuracy, let loss = record.validationLoss,
        (record.nnz ?? fewest) == fewest
      else { return nil }
      return (-accuracy, loss)
    }
    return compactMap { record in rank(record).map { (rank: $0, record: record) } }.min { $0.rank < $1.rank }?.record
  }
}

/// Is told what happens while a model trains. Runs on the training thread, outside of the time that counts.
public protocol TrainingObserver {
  /// After every step, so that progress can be shown; `isLogged` at the chosen interval.
  func didStep(_ record: StepRecord, isLogged: Bool) throws
  /// After every update of the topology.
  func didUpdateTopology(_ record: UpdateRecord) throws
  /// While an epoch (counted from 1) is evaluated, after each batch: how many of its images are done.
  func didEvaluate(_ samples: Int, of count: Int, epoch: Int)
  /// After every epoch, once it is evaluated.
  func didFinishEpoch(_ record: EpochRecord) throws
  /// Asked after every step, and after every batch of an evaluation: true ends the run before anything else happens. An evaluation that did
  /// not come to its end is made again when the run goes on.
  var wantsStop: Bool { get }
  /// After a step with all that follows from it: the trainer's and the model's state are whole and may be saved.
  func mayCheckpoint(step: Int, endsEpoch: Bool) throws
}

extension TrainingObserver {
  /// Does nothing.
  public func didStep(_ record: StepRecord, isLogged: Bool) {}
  /// Does nothing.
  public func didUpdateTopology(_ record: UpdateRecord) {}
  /// Does nothing.
  public func didEvaluate(_ samples: Int, of count: Int, epoch: Int) {}
  /// Does nothing.
  public func didFinishEpoch(_ record: EpochRecord) {}
  /// False: the run goes to its end.
  public var wantsStop: Bool { false }
  /// Does nothing.
  public func mayCheckpoint(step: Int, endsEpoch: Bool) {}
}

struct NoObserver: TrainingObserver {}

/// What one phase of training came to, over all steps.
public struct PhaseRecord: Sendable, Codable, Hashable {
  /// `TrainingPhase.name`.
  public let name: String
  /// Nil for a phase that only other versions know.
  public var phase: TrainingPhase? { TrainingPhase.allCases.first { $0.name == name } }
  /// Wall time, over all steps.
  public let seconds: Double
  /// Weights and their state, and activations in use, at most.
  public let peakBytes: Int
}

/// What a run came to.
public struct TrainingResult: Sendable {
  /// Steps taken.
  public let steps: Int
  /// Epochs of the whole run.
  public let epochs: Int
  /// Whether the run went to its end, its last evaluation included, rather than being stopped.
  public let isFinished: Bool
  /// One record an evaluated epoch.
  public let history: [EpochRecord]
  /// Wall time of steps and updates with their data loading.
  public let trainSeconds: Double
  /// Median over steps after the first three, updates included.
  public let stepMillisecondsMedian: Double
  /// Median over the steps that moved connections; nil where there was none.
  public let updateMillisecondsMedian: Double?
  /// Training samples a second of `trainSeconds`.
  public let imagesPerSecond: Double
  /// Floating-point operations a sample, averaged over the steps.
  public let trainFlopsPerSample: Double
  /// Fraction of all possible connections that were ever active; nil where counting them would have taken too much memory.
  public let explorationRate: Double?
  /// Updates of the topology.
  public let updates: Int
  /// Where the time of the steps went, in the order of a step.
  public let phases: [PhaseRecord]
  /// The most that the weights and their state took after any step (`Model.weightStateBytes`).
  public let peakWeightStateBytes: Int
  /// What ranks that trained together sent each other; nil for a process alone.
  public let ranks: RankRecord?

  /// Top-1 after the last evaluated epoch, as a fraction; 0 before any.
  public var testAccuracy: Double { history.last?.testAccuracy ?? 0 }
  /// Mean loss after the last evaluated epoch; 0 before any.
  public var testLoss: Double { history.last?.testLoss ?? 0 }
  /// Top-5 after the last evaluated epoch, from 100 classes up.
  public var testTop5Accuracy: Double? { history.last?.testTop5Accuracy }
}

extension PhaseRecord {
  /// The name as people read it.
  package var title: String { Self.title(of: name) }

  static func title(of name: String) -> String { name.replacing("-", with: " ") }
}
