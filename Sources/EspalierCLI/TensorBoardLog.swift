import Espalier
import EspalierCore
import Foundation

/// `tensorboard/` in a run's folder: the curves of metrics.jsonl and topology.jsonl for TensorBoard.
///
/// A run that goes on takes its own last step back and says it anew, as its evaluation may be among what is still to come.
final class TensorBoardLog {
  private let log: ScalarLog
  private let timetable: TrainingTimetable
  /// Size of each layer's dense form.
  private let sizes: [String: Int]

  /// Layers whose density is shown each, at most.
  private static let layerLimit = 64

  /// - Throws: `EspalierError.write`.
  init(run: String, progress: TrainingProgress, timetable: TrainingTimetable, model: Model) throws {
    self.timetable = timetable
    sizes = Dictionary(uniqueKeysWithValues: model.spec.weightLayers.map { ($0.shape.name, $0.shape.size) })
    log = try ScalarLog(folder: run + "/tensorboard", from: progress.step)
    // What a scored start left is its record's to say, which comes yet or is in topology.jsonl.
    if progress.step > 0 || progress.start != nil {
      try repeatStep(progress, of: run)
    } else {
      try log.append(densities(model.sparseParameters.map { ($0.layerName, $0.count) }), step: 0)
    }
  }

  func append(_ record: StepRecord) throws {
    try append(
      RecordedStep(
        step: record.step, trainLoss: record.trainLoss, learningRate: record.learningRate,
        imagesPerSecond: record.imagesPerSecond))
  }

  func append(_ record: EpochRecord) throws {
    let optional = [("validation_loss", record.validationLoss), ("validation_accuracy", record.validationAccuracy)]
    try log.append(
      [("test_loss", record.testLoss), ("test_accuracy", record.testAccuracy)]
        + optional.compactMap { tag, value in value.map { (tag, $0) } },
      step: step(of: record))
  }

  /// An update of the topology.
  func append(_ layers: [LayerUpdateRecord], step: Int) throws {
    var scalars = densities(layers.map { ($0.name, $0.nnz) })
    let explored = layers.compactMap { layer in
      layer.explorationRate.flatMap { rate in sizes[layer.name].map { rate * Double($0) } }
    }
    if explored.count == layers.count {
      scalars.append(("exploration", explored.reduce(0, +) / Double(max(1, sizes.values.reduce(0, +)))))
    }
    try log.append(scalars, step: step)
  }

  /// Returns when all points are on disk.
  func synchronize() throws { try log.synchronize() }

  private func densities(_ layers: [(name: String, nnz: Int)]) -> [(tag: String, value: Double)] {
    guard layers.count <= Self.layerLimit else { return [] }
    return layers.compactMap { layer in
      sizes[layer.name].map { ("density/\(layer.name)", Double(layer.nnz) / Double($0)) }
    }
  }

  private func step(of epoch: EpochRecord) -> Int { min(epoch.epoch * timetable.stepsPerEpoch, timetable.steps) }

  /// A step's line of metrics.jsonl.
  private struct RecordedStep: Decodable {
    let step: Int
    let trainLoss, learningRate, imagesPerSecond: Double
  }

  /// A line of topology.jsonl.
  private struct RecordedUpdate: Decodable {
    let step: Int
    let layers: [LayerUpdateRecord]
  }

  private func append(_ record: RecordedStep) throws {
    try log.append(
      [
        ("train_loss", record.trainLoss), ("learning_rate", record.learningRate),
        ("images_per_second", record.imagesPerSecond),
      ], step: record.step)
  }

  /// What the run's own records say of the step that it goes on from.
  private func repeatStep(_ progress: TrainingProgress, of run: String) throws {
    if let line = Self.line(run + "/metrics.jsonl", as: RecordedStep.self, where: { $0.step == progress.step }) {
      try append(line)
    }
    if let line = Self.line(run + "/topology.jsonl", as: RecordedUpdate.self, where: { $0.step == progress.step }) {
      try append(line.layers, step: line.step)
    }
    if let epoch = progress.history.last, step(of: epoch) == progress.step { try append(epoch) }
  }

  /// The last of a file's few last lines that is such an object.
  private static func line<T: Decodable>(_ path: String, as type: T.Type, where isWanted: (T) -> Bool) -> T? {
    let text = FileManager.default.contents(atPath: path) ?? Data()
    return text.split(separator: UInt8(ascii: "\n")).suffix(4).reversed().lazy
      .compactMap { try? JSONOutput.decode(type, from: Data($0)) }.first(where: isWanted)
  }
}
