import EspalierCore
import Logging

/// Writes what happens while a model trains to a logger: epochs as `info`, updates of the topology as `debug`, logged steps as `trace`.
///
/// Numbers are metadata, so that a backend can collect them. The library itself prints nothing.
public struct LoggingObserver: TrainingObserver {
  /// Where the messages go.
  public let logger: Logger

  /// An observer that writes to `logger`, whose level decides what is seen.
  public init(_ logger: Logger) { self.logger = logger }

  public func didStep(_ record: StepRecord, isLogged: Bool) {
    guard isLogged else { return }
    logger.trace(
      "step \(record.step)",
      metadata: [
        "epoch": "\(record.epoch)", "loss": "\(record.trainLoss)", "learning_rate": "\(record.learningRate)",
        "images_per_second": "\(record.imagesPerSecond)",
      ])
  }

  public func didUpdateTopology(_ record: UpdateRecord) {
    logger.debug(
      "topology updated in step \(record.step)",
      metadata: ["grown": "\(record.grown)", "nnz": "\(record.nnz)", "seconds": "\(record.seconds)"])
  }

  public func didFinishEpoch(_ record: EpochRecord) {
    var metadata: Logger.Metadata = [
      "train_loss": "\(record.trainLoss)", "test_loss": "\(record.testLoss)",
      "test_accuracy": "\(record.testAccuracy)",
    ]
    metadata["validation_accuracy"] = record.validationAccuracy.map { "\($0)" }
    logger.info("epoch \(record.epoch) finished", metadata: metadata)
  }
}
