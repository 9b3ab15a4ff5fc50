import ArgumentParser
import Espalier
import EspalierCore
import EspalierData
import Foundation

struct EvalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval", abstract: "Prints a checkpoint's accuracy and loss on the test set.")

  @Argument(help: "A run's folder, or a checkpoint in it.") var path: String
  @Option(help: "The folder that holds the data set; by default the run's, where it is there.") var dataDir: String?
  @Option(help: "Samples a batch; by default as in training.") var batchSize: Int?
  @Option(help: "Threads.") var threads: Int?
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let checkpoint, model, dataset, method: String
    let step, samples, nnz: Int
    let testAccuracy, testLoss: Double
    let testTop5Accuracy: Double?
  }

  func run() throws {
    let context = try ComputeContext(threads: threads)
    if let batchSize, !(1...65_536).contains(batchSize) {
      throw EspalierError.usage("batch-size: \(batchSize) is out of range; expected 1 to 65536")
    }
    let checkpointPath = try CheckpointLocation.verified(path)
    let checkpoint = try Checkpoint(path: checkpointPath)
    let information = checkpoint.information
    let model = try checkpoint.loadModel(context: context)
    var isSynthetic = false
    let loss = try StoppedResult.whereDiverged(isPrinted: json, checkpoint: checkpointPath) {
      try Self.fitting(checkpointPath) {
        let found = try TrainingSession.find(information.dataset, directory: dataDir ?? runsDataDir)
        let dataset = try Activity.during("reading data set \(information.dataset)") { try found.load() }
        isSynthetic = dataset.isSynthetic
        let evaluator = try Evaluator(
          dataset: dataset, normalization: found.description.normalization, spec: checkpoint.spec,
          batchSize: batchSize ?? information.batchSize, context: context)
        let line = ProgressLine()
        defer { line.close() }
        let loss = try evaluator(model) { samples, count in
          line.showIfDue("evaluating, \(samples) of \(count) images")
        }
        line.close()
        for line in dataset.damageLines { Terminal.note(line) }
        guard loss.total.isFinite else {
          let place = evaluator.brokenPlace(in: model).map { ": \($0) is not finite" } ?? ""
          throw EspalierError.diverged(
            "\(checkpointPath): the test loss is \(loss.words)\(place); the weights are not usable")
        }
        return loss
      }
    }
    let result = Result(
      checkpoint: checkpointPath, model: information.model.name, dataset: information.dataset,
      method: information.method, step: information.step, samples: loss.samples,
      nnz: model.connectionCounts.reduce(0, +), testAccuracy: loss.accuracy,
      testLoss: loss.mean, testTop5Accuracy: loss.topFiveAccuracy)
    if json {
      try Terminal.json(result)
    } else {
      try Terminal.result(
        String(format: "test accuracy  %.4f\ntest loss      %.4f", result.testAccuracy, result.testLoss))
      if let topFive = result.testTop5Accuracy { try Terminal.result(String(format: "top-5          %.4f", topFive)) }
      try Terminal.result("checkpoint     \(checkpointPath)")
      if isSynthetic { try Terminal.result("data           synthetic") }
    }
  }

  /// The data's folder of the run that `path` is, or is a checkpoint of.
  private var runsDataDir: String? {
    let checkpoint = URL(fileURLWithPath: path).resolvingSymlinksInPath()
    let run = checkpoint.deletingLastPathComponent().deletingLastPathComponent().path
    let settings = [path, run].lazy.compactMap { run in
      (try? RunFolder.configuration(of: run)).flatMap { try? ResumeCommand.settings($0, of: run) }
    }.first
    return settings?.dataDir.flatMap { FileManager.default.fileExists(atPath: $0) ? $0 : nil }
  }

  /// Runs `body`; what a checkpoint's own words make wrong is the checkpoint's fault, not the caller's.
  private static func fitting<R>(_ path: String, _ body: () throws -> R) throws -> R {
    do {
      return try body()
    } catch let error as EspalierError where error.kind == .usage {
      throw EspalierError.input("\(path): \(error.message)")
    }
  }
}
