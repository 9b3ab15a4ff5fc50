import Espalier
import EspalierCore
import Foundation

/// Shows a run's progress and writes its logs.
///
/// On a terminal one line is redrawn; elsewhere a plain line comes every few seconds.
final class ProgressReporter: TrainingObserver {
  private let folder: RunFolder
  private let timetable: TrainingTimetable
  private let started = ContinuousClock.now
  private let line = ProgressLine()
  /// Steps that were taken before this process.
  private let firstStep: Int
  private let stop: StopRequest
  /// Is called whenever the run may be saved.
  var onCheckpoint: ((_ step: Int, _ endsEpoch: Bool) throws -> Void)?

  init(folder: RunFolder, timetable: TrainingTimetable, firstStep: Int, stop: StopRequest) {
    self.folder = folder
    self.timetable = timetable
    self.firstStep = firstStep
    self.stop = stop
  }

  var wantsStop: Bool { stop.reason != nil }

  func mayCheckpoint(step: Int, endsEpoch: Bool) throws { try onCheckpoint?(step, endsEpoch) }

  /// A line on standard error and in train.log.
  func log(_ text: String) {
    line.close()
    Terminal.note(text)
    try? folder.appendLog(text)
  }

  func didStep(_ record: StepRecord, isLogged: Bool) throws {
    if isLogged {
      try folder.appendMetrics(StepLine(record))
      try folder.board?.append(record)
    }
    if record.step == firstStep + 1 || line.isDue { show(record) }
  }

  func didEvaluate(_ samples: Int, of count: Int, epoch: Int) {
    if line.isDue { show("epoch \(epoch)/\(timetable.epochs): evaluating, \(samples) of \(count) images") }
  }

  func didUpdateTopology(_ record: UpdateRecord) throws {
    try folder.appendTopology(UpdateLine(record))
    try folder.board?.append(record.layers, step: record.step)
  }

  func didFinishEpoch(_ record: EpochRecord) throws {
    try folder.appendMetrics(EpochLine(record))
    try folder.board?.append(record)
    log(
      String(
        format: "epoch %d/%d: train loss %.4f, test loss %.4f, test accuracy %.4f", record.epoch, timetable.epochs,
        record.trainLoss, record.testLoss, record.testAccuracy)
        + (record.validationAccuracy.map { String(format: ", validation accuracy %.4f", $0) } ?? ""))
  }

  private func show(_ record: StepRecord) {
    let elapsed = (ContinuousClock.now - started).seconds
    let left = elapsed / Double(record.step - firstStep) * Double(timetable.steps - record.step)
    show(
      String(
        format: "epoch %.2f step %d/%d loss %.4f accuracy %.3f %.0f img/s ETA %@ memory %d MiB", record.epoch,
        record.step, timetable.steps, record.trainLoss, record.trainAccuracy, record.imagesPerSecond,
        Self.clock(left), ProcessMemory.residentBytes >> 20))
  }

  private func show(_ text: String) {
    line.show(text)
    try? folder.appendLog(text)
  }

  static func clock(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    return String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
  }
}

/// Where a run is, as its progress says.
struct RunPosition {
  let step, steps: Int
  let secondsLeft: Double

  /// nil for a line that `ProgressReporter` did not write of a step.
  init?(line: Substring) {
    guard let match = line.firstMatch(of: #/ step (\d+)/(\d+) .* ETA (\d+):(\d\d):(\d\d) /#),
      let step = Int(match.1), let steps = Int(match.2), let hours = Int(match.3), let minutes = Int(match.4),
      let seconds = Int(match.5)
    else { return nil }
    (self.step, self.steps) = (step, steps)
    secondsLeft = Double(hours * 3600 + minutes * 60 + seconds)
  }
}

/// A step's line of metrics.jsonl.
private struct StepLine: Encodable {
  let step: Int
  let epoch, trainLoss, learningRate, imagesPerSecond: Double

  init(_ record: StepRecord) {
    step = record.step
    epoch = record.epoch
    trainLoss = record.trainLoss
    learningRate = record.learningRate
    imagesPerSecond = record.imagesPerSecond
  }
}

/// An epoch's line of metrics.jsonl.
private struct EpochLine: Encodable {
  let epoch: Int
  let testLoss, testAccuracy: Double
  let testTop5Accuracy, validationLoss, validationAccuracy: Double?

  init(_ record: EpochRecord) {
    epoch = record.epoch
    testLoss = record.testLoss
    testAccuracy = record.testAccuracy
    testTop5Accuracy = record.testTop5Accuracy
    validationLoss = record.validationLoss
    validationAccuracy = record.validationAccuracy
  }
}

/// A line of topology.jsonl.
private struct UpdateLine: Encodable {
  let step: Int
  let fraction, seconds: Double
  let nnz, grown: Int
  let layers: [LayerUpdateRecord]

  init(_ record: UpdateRecord) {
    step = record.step
    fraction = record.fraction
    seconds = record.seconds
    nnz = record.nnz
    grown = record.grown
    layers = record.layers
  }
}
