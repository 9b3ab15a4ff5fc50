import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// The options of training beyond the basic ones.
  @Suite struct TrainingOptions {
    private static let tiny = ["--model", "mlp", "--hidden", "32", "--threads", "2"]

    private func checkpoints(_ folder: String) throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
    }

    @Test func allOfThemTogether() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        Self.tiny + ["--optimizer", "adamw", "--lr", "0.002", "--schedule", "cosine", "--clip-norm", "1.5"]
          + ["--accumulate", "2", "--validation", "0.1", "--label-smoothing", "0.1", "--weight-decay", "0.01"]
          + ["--max-steps", "40", "--epochs", "1", "--max-time", "3h50m", "--checkpoint-every", "20", "--keep", "3"]
          + ["--log-every", "1"],
        output: output.path)
      let configuration = String(decoding: try run.file("config.yaml"), as: UTF8.self)
      for line in [
        "optimizer: adamw", "schedule: cosine", "clip-norm: 1.5", "accumulate: 2", "validation: 0.1",
        "max-time: 3h50m", "checkpoint-every: 20", "keep: 3", "milestones: []",
      ] {
        #expect(configuration.contains(line + "\n"), "\(line) in \(configuration)")
      }
      #expect(run.result["validation_accuracy"] as? Double ?? 0 > 0.3)
      #expect(run.result["validation_loss"] is Double)
      #expect(run.result["test_top5_accuracy"] == nil)
      let history = try #require(run.result["history"] as? [[String: Any]])
      #expect(history.count == 1)
      #expect(history[0]["validation_accuracy"] as? Double == run.result["validation_accuracy"] as? Double)
      let best = try #require(run.result["best"] as? [String: Any])
      #expect(best["epoch"] as? Int == 1)
      #expect(best["checkpoint"] as? String == "checkpoints/step-00000040")
      let lines = try run.lines("metrics.jsonl")
      #expect(lines.count == 41)
      #expect(lines.last?["validation_accuracy"] as? Double == run.result["validation_accuracy"] as? Double)
      // 54,000 images in batches of 2 x 128: 210 steps, of which 40 follow half of a wave's first fifth.
      let rates = lines.compactMap { $0["learning_rate"] as? Double }
      #expect(abs(rates[39] - 0.001 * (1 + cos(Double.pi * (39 - 5) / (210 - 5)))) < 1e-12)
      #expect(try checkpoints(run.folder) == ["step-00000020", "step-00000040"])
    }

    @Test func olderCheckpointsAreDeletedAndUnknownFilesStay() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        Self.tiny + ["--max-steps", "25", "--checkpoint-every", "5"], output: output.path)
      #expect(try checkpoints(run.folder) == ["step-00000020", "step-00000025"])
      let names = try FileManager.default.contentsOfDirectory(atPath: run.folder)
      #expect(!names.contains { $0.hasPrefix(".") }, "\(names)")
    }

    /// A rate that soon is far too high: the first epoch is the best one.
    @Test func theBestCheckpointSurvives() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        Self.tiny + ["--batch-size", "600", "--epochs", "4", "--lr", "2", "--warmup-epochs", "4", "--milestones", "4"]
          + ["--keep", "1", "--validation", "0.5"],
        output: output.path)
      let best = try #require(run.result["best"] as? [String: Any])
      let history = try #require(run.result["history"] as? [[String: Any]])
      let accuracies = history.compactMap { $0["validation_accuracy"] as? Double }
      #expect(accuracies.count == 4)
      let epoch = try #require(best["epoch"] as? Int)
      #expect(accuracies[epoch - 1] == accuracies.max())
      #expect(epoch < 4, "\(accuracies)")
      let name = "step-" + String(format: "%08d", 50 * epoch)
      #expect(best["checkpoint"] as? String == "checkpoints/" + name)
      #expect(try checkpoints(run.folder) == [name, "step-00000200"])
      let program = try RunProgram.espalier(["eval", run.folder + "/checkpoints/" + name, "--json"])
      #expect(try program.json()["test_accuracy"] as? Double == best["test_accuracy"] as? Double)
    }

    /// Reading the data is part of it, so that there may be no step before its end.
    @Test func timeRunsOut() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--json", "--output", output.path, "--epochs", "1000", "--max-time", "1s"] + Self.tiny)
      #expect(program.status == 75, "\(program.error)")
      let result = try program.json()
      #expect((result["stopped"] as? String)?.contains("max-time 1s") == true)
      let folder = try #require(result["run"] as? String)
      let steps = try #require(result["steps"] as? Int)
      #expect(try checkpoints(folder).last == "step-" + String(format: "%08d", steps))
      #expect(!FileManager.default.fileExists(atPath: folder + "/result.json"))
      #expect(program.errorLines.last?.contains("espalier resume") == true)
    }
  }
}
