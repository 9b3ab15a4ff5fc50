import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Methods that score before training, and methods that are dense by nature, from the command line.
  @Suite struct PrunedMethods {
    private static let tiny =
      ["--model", "mlp", "--hidden", "24,16", "--batch-size", "64", "--update-every", "7", "--sparsity", "0.9"]
      + ["--log-every", "1", "--threads", "1"]

    private static let sizes = [784 * 24, 24 * 16, 160]
    private static let size = sizes.reduce(0, +)
    private static let budget = Int((0.1 * Double(size)).rounded())

    /// Steps, by method: lottery tickets' are those of all rounds.
    private static func arguments(_ method: String) -> [String] {
      tiny + ["--method", method, "--max-steps", "40"] + (method == "lottery" ? ["--rounds", "4"] : [])
    }

    @Test(arguments: ["snip", "grasp", "synflow", "magnitude"]) func aScoredStartIsToldOf(_ method: String) throws {
      let place = try IDXFolder()
      let run = try TrainedRun(Self.arguments(method), output: place.path)
      #expect(run.result["nnz"] as? Int == Self.budget)
      #expect(run.result["sparsity"] as? Double == 0.9 && run.result["method"] as? String == method)
      #expect((run.result["start_seconds"] as? Double ?? 0) > 0)
      #expect(((run.result["start_flops"] as? Double ?? 0) > 0) == (method != "magnitude"))
      let layers = try #require(run.result["layers"] as? [[String: Any]]).compactMap { $0["nnz"] as? Int }
      let flops = Double(3 * 2 * Self.budget)
      #expect(layers.reduce(0, +) == Self.budget && layers.allSatisfy { $0 > 0 })
      #expect(run.result["train_flops_per_sample"] as? Double == flops)
      let lines = try run.lines("topology.jsonl")
      #expect(lines.count == 1 && lines[0]["step"] as? Int == 0 && lines[0]["nnz"] as? Int == Self.budget)
      let rows = try #require(lines[0]["layers"] as? [[String: Any]])
      #expect(rows.compactMap { $0["nnz"] as? Int } == layers)
      #expect(rows.compactMap { $0["candidates"] as? Int } == Self.sizes)
    }

    @Test(arguments: ["gradual", "lottery", "snfs-dense"]) func aDenseMethodEndsSparse(_ method: String) throws {
      let place = try IDXFolder()
      let run = try TrainedRun(Self.arguments(method), output: place.path)
      #expect(run.result["nnz"] as? Int == Self.budget && run.result["sparsity"] as? Double == 0.9)
      let updates = try run.lines("topology.jsonl").compactMap { $0["step"] as? Int }
      let expected = ["gradual": [7, 14, 21, 28, 30], "lottery": [11, 21, 31], "snfs-dense": [8, 15, 22, 29]]
      #expect(updates == expected[method])
      let flops = try #require(run.result["train_flops_per_sample"] as? Double)
      let dense = try #require(run.result["dense_train_flops_per_sample"] as? Double)
      #expect(method == "lottery" ? flops > dense : flops < dense)
      let evaluated = try RunProgram.espalier(["eval", run.folder, "--json"])
      #expect(try evaluated.json()["test_accuracy"] as? Double == run.result["test_accuracy"] as? Double)
    }

    /// What lives, not what is stored.
    @Test(arguments: ["gradual", "lottery", "snfs-dense"]) func deadWeightsAreNotCounted(_ method: String) throws {
      let place = try IDXFolder()
      let run = try TrainedRun(Self.arguments(method), output: place.path)
      let input = try place.writeArray([Float](repeating: 0.5, count: 2 * 784), shape: [2, 1, 28, 28])
      let output = place.path + "/out"
      for arguments in [
        ["eval", run.folder], ["export", run.folder, "--format", "safetensors", "--output", output + ".safetensors"],
        ["predict", run.folder, "--input", input, "--output", output + ".npy"],
        ["inspect", run.folder], ["inspect", run.folder + "/checkpoints/step-00000040"],
      ] {
        let program = try RunProgram.espalier(arguments + ["--json"])
        try #require(program.status == 0, "\(arguments): \(program.error)")
        #expect(try program.json()["nnz"] as? Int == Self.budget, "\(arguments)")
      }
      let exported = try RunProgram.espalier(["export", run.folder, "--format", "npz", "--output", output])
      let zeros = Self.size - Self.budget
      #expect(
        exported.text == "\(Self.budget) weights of mlp in \(output), and \(zeros) zeros for those that were pruned\n")
      let inspected = try RunProgram.espalier(["inspect", run.folder]).text
      #expect(inspected.contains("\n\(Self.budget) live weights, density 0.1000"), "\(inspected)")
      let layers = try #require(run.result["layers"] as? [[String: Any]])
      for layer in layers { #expect(inspected.contains(", \(try #require(layer["nnz"] as? Int)) live")) }
    }

    /// Denser networks than the one that was asked for are no candidates, however good: here the first epoch's is.
    @Test func theBestCheckpointIsPruned() throws {
      let place = try IDXFolder()
      let run = try TrainedRun(
        Self.arguments("gradual") + ["--validation", "0.2", "--checkpoint-every", "1000", "--batch-size", "4096"]
          + ["--max-steps", "24", "--sparsity", "0.99", "--keep", "1"], output: place.path)
      let best = try #require(run.result["best"] as? [String: Any])
      let checkpoint = run.folder + "/" + (try #require(best["checkpoint"] as? String))
      let evaluated = try RunProgram.espalier(["eval", checkpoint, "--json"])
      let nnz = try #require(run.result["nnz"] as? Int)
      #expect(try evaluated.json()["nnz"] as? Int == nnz, "\(evaluated.error)")
      let history = try #require(run.result["history"] as? [[String: Any]])
      let accuracies = history.compactMap { $0["validation_accuracy"] as? Double }
      #expect(history.compactMap { ($0["nnz"] as? Int).map { $0 == nnz } } == [false, true, true])
      #expect(accuracies[0] > max(accuracies[1], accuracies[2]) && best["epoch"] as? Int != 1)
    }

    @Test(arguments: ["gradual", "lottery", "granet"]) func anEndBeforeThePruningIsWarnedOf(_ method: String) throws {
      let place = try IDXFolder()
      let arguments = Self.tiny + ["--method", method, "--epochs", "40", "--max-steps", "9"]
      let warning = "espalier: warning: method \(method) prunes to sparsity 0.9 by step "
      let run = try TrainedRun(arguments, output: place.path)
      #expect(run.program.error.hasPrefix(warning), "\(run.program.error)")
      #expect((run.result["nnz"] as? Int ?? 0) > Self.budget)
      let rest = arguments.filter { $0 != "--method" && $0 != method }
      let compared = try RunProgram.espalier(["compare", "--output", place.path, "--methods", method] + rest)
      #expect(compared.error.contains("espalier: warning: \(method) 0.9: method \(method) prunes"), "\(compared.error)")
      let whole = try TrainedRun(Self.arguments(method), output: place.path)
      #expect(!whole.program.error.contains("warning"))
    }

    @Test(arguments: ["snip", "grasp", "synflow", "magnitude", "gradual", "lottery", "snfs-dense", "granet"])
    func goesOnAsIfItHadNeverStopped(_ method: String) throws {
      let place = try IDXFolder()
      let arguments = Self.arguments(method) + ["--checkpoint-every", "9"]
      let whole = try TrainedRun(arguments, output: place.path + "/whole")
      let output = place.path + "/stopped"
      let stopped = try KilledRun.train(
        arguments + ["--batch-size", "64", "--json", "--output", output], signal: SIGTERM, afterSteps: 12)
      // Where the signal came too late the run is whole, and equal all the same.
      #expect([0, 75].contains(stopped.status), "\(stopped.error)")
      let folder = try #require(try stopped.json()["run"] as? String)
      let resumed = try RunProgram.espalier(["resume", folder, "--json", "--threads", "2"])
      #expect(resumed.status == 0, "\(resumed.error)")
      let result = try resumed.json()
      #expect(result["weights_sha256"] as? String == whole.hash && whole.hash != nil)
      for name in ["nnz", "updates", "train_flops_per_sample", "test_loss", "start_flops", "peak_weight_state_bytes"] {
        #expect(result[name] as? Double == whole.result[name] as? Double, "\(name)")
      }
      let text = try String(contentsOfFile: folder + "/topology.jsonl", encoding: .utf8)
      #expect(try text.split(separator: "\n").count == whole.lines("topology.jsonl").count)
      let verified = try RunProgram.espalier(["resume", folder, "--verify"])
      #expect(verified.status == 0 && verified.text.hasPrefix("equal"), "\(verified.error)")
    }

    /// GraNet begins with half of all weights, a dense method with all of them.
    @Test func theMostThatTheWeightsTookIsTold() throws {
      let place = try IDXFolder()
      func bytes(_ method: String) throws -> (end: Int, peak: Int, summary: String) {
        let run = try TrainedRun(Self.arguments(method), output: place.path)
        let summary = try RunProgram.espalier(["resume", run.folder]).text
        return (
          try #require(run.result["weight_state_bytes"] as? Int),
          try #require(run.result["peak_weight_state_bytes"] as? Int), summary
        )
      }
      let (fixed, pruned, dense) = (try bytes("static"), try bytes("granet"), try bytes("gradual"))
      #expect(fixed.end == fixed.peak && fixed.peak >= 28 * Self.budget && !fixed.summary.contains("MiB at most"))
      let lines = 2 * 8 * (784 + 24 + 24 + 16 + 16 + 10 + 6)
      #expect(pruned.peak >= 28 * Self.size / 2 && pruned.peak <= 28 * (Self.size / 2 + 1) + lines)
      #expect(pruned.end == fixed.end && pruned.summary.contains(" MiB at most\n"))
      let mask = 8 * (24 * 13 + 16 + 10)
      #expect(dense.end == 12 * Self.size + mask && dense.peak == dense.end)
    }

    /// The log's first line is about the choice of connections, so the signal comes while that lasts, or soon after.
    @Test func aSignalWhileItScoresLeavesARunThatGoesOn() throws {
      let place = try IDXFolder()
      let arguments = Self.arguments("synflow") + ["--hidden", "256,256"]
      let whole = try TrainedRun(arguments, output: place.path + "/whole")
      let output = place.path + "/stopped"
      let stopped = try KilledRun.train(
        arguments + ["--json", "--output", output], signal: SIGTERM, afterSteps: 0)
      #expect([0, 75].contains(stopped.status), "\(stopped.error)")
      let folder = try #require(try stopped.json()["run"] as? String)
      let resumed = try RunProgram.espalier(["resume", folder, "--json"])
      #expect(resumed.status == 0, "\(resumed.error)")
      #expect(try resumed.json()["weights_sha256"] as? String == whole.hash && whole.hash != nil)
      let lines = try String(contentsOfFile: folder + "/topology.jsonl", encoding: .utf8).split(separator: "\n")
      #expect(lines.count == 1)
    }

    @Test func compareRunsEach() throws {
      let place = try IDXFolder()
      let program = try RunProgram.espalier(
        [
          "compare", "--json", "--output", place.path, "--methods",
          "snip,grasp,synflow,magnitude,gradual,lottery,snfs-dense",
        ]
          + ["--sparsities", "0.9", "--seeds", "1", "--max-steps", "20", "--rounds", "2", "--prune-schedule", "cosine"]
          + Self.tiny.filter { $0 != "--sparsity" && $0 != "0.9" })
      #expect(program.status == 0, "\(program.error)")
      let rows = try #require(try program.json()["rows"] as? [[String: Any]])
      #expect(rows.count == 7 && rows.allSatisfy { $0["nnz"] as? Int == Self.budget })
    }
  }
}
