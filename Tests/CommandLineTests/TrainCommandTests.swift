import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite struct Train {
    private static func arguments(_ model: String) -> [String] {
      let update = model == "mlp" ? ["--hidden", "64,32"] : []
      return ["--model", model, "--max-steps", "25", "--update-every", "10", "--batch-size", "64", "--threads", "2"]
        + ["--seed", "3", "--log-every", "1", "--sparsity", "0.9"] + update
    }

    /// Sizes by arithmetic: weights that could exist, biases and norms.
    private static let sizes = [
      "mlp": (weights: 784 * 64 + 64 * 32 + 32 * 10, dense: 64 + 32 + 10),
      "vgg11-small": (weights: 909_232, dense: 3098),
    ]

    @Test(arguments: ["mlp", "vgg11-small"])
    func aRunKeepsTheContract(_ model: String) throws {
      let output = try IDXFolder()
      let run = try TrainedRun(Self.arguments(model), output: output.path)
      try checkResult(run, model: model)
      try checkFolder(run, model: model, output: output.path)
      try checkMetrics(run)
      try checkCurves(run)
      try checkPhases(run)
      try checkProgress(run)
    }

    private func checkResult(_ run: TrainedRun, model: String) throws {
      let result = run.result
      for name in ["model", "dataset", "method", "guide", "weights_sha256"] {
        #expect(result[name] is String, "\(name)")
      }
      let integers =
        ["seed", "threads", "epochs", "steps", "batch_size", "peak_rss_bytes", "largest_weight_buffer_bytes"]
        + ["weight_state_bytes", "nnz", "sparsifiable_weights", "dense_parameters", "parameters"]
      for name in integers { #expect(result[name] as? Int != nil, "\(name)") }
      let numbers =
        ["sparsity", "test_accuracy", "test_loss", "train_seconds", "step_ms_median", "update_ms_median"]
        + ["checkpoint_seconds"]
        + ["images_per_second", "train_flops_per_sample", "dense_train_flops_per_sample", "exploration_rate"]
      for name in numbers { #expect(result[name] as? Double != nil, "\(name)") }
      func integer(_ name: String) -> Int { result[name] as? Int ?? -1 }
      func number(_ name: String) -> Double { result[name] as? Double ?? .nan }

      let size = try #require(Self.sizes[model])
      #expect(result["model"] as? String == model)
      #expect(result["dataset"] as? String == "fashion-mnist")
      #expect(result["method"] as? String == "gse")
      #expect(result["guide"] as? String == "uniform")
      #expect(number("sparsity") == 0.9)
      #expect(["seed", "threads", "epochs", "steps", "batch_size"].map(integer) == [3, 2, 1, 25, 64])
      #expect(integer("sparsifiable_weights") == size.weights)
      #expect(integer("dense_parameters") == size.dense)
      #expect(integer("parameters") == size.weights + size.dense)
      #expect(integer("nnz") == Int((0.1 * Double(size.weights)).rounded()))
      #expect(integer("largest_weight_buffer_bytes") < 4 * size.weights)
      #expect(integer("weight_state_bytes") >= 12 * integer("nnz"))
      #expect(integer("peak_rss_bytes") > 47_000_000, "the images alone")
      #expect((0...1).contains(number("test_accuracy")) && number("test_loss") > 0)
      #expect(number("train_seconds") > 0 && number("step_ms_median") > 0 && number("images_per_second") > 0)
      #expect(number("train_flops_per_sample") > 0)
      #expect(number("train_flops_per_sample") < number("dense_train_flops_per_sample"))
      #expect(number("exploration_rate") > 0.1 && number("exploration_rate") <= 0.13)
      let hash = try #require(run.hash)
      #expect(hash.count == 64 && hash.allSatisfy { $0.isHexDigit && !$0.isUppercase })

      let history = try #require(result["history"] as? [[String: Any]])
      #expect(history.count == 1)
      #expect(history[0]["epoch"] as? Int == 1)
      #expect(history[0]["train_loss"] is Double)
      #expect(history[0]["test_accuracy"] as? Double == number("test_accuracy"))
      let layers = try #require(result["layers"] as? [[String: Any]])
      #expect(layers.reduce(0) { $0 + ($1["nnz"] as? Int ?? -1) } == integer("nnz"))
      let sizes = layers.map { ($0["inputs"] as? Int ?? -1) * ($0["outputs"] as? Int ?? -1) }
      #expect(sizes.reduce(0, +) == size.weights)
      #expect(layers[0]["name"] as? String == (model == "mlp" ? "layers.0" : "features.0"))
      #expect(layers[0]["inputs"] as? Int == (model == "mlp" ? 784 : 3 * 9))
      #expect(layers[0]["outputs"] as? Int == (model == "mlp" ? 64 : 16))
    }

    private func checkFolder(_ run: TrainedRun, model: String, output: String) throws {
      let files = FileManager.default
      #expect(try files.contentsOfDirectory(atPath: output) == [URL(fileURLWithPath: run.folder).lastPathComponent])
      let names = Set(try files.contentsOfDirectory(atPath: run.folder))
      let expected = ["config.yaml", "environment.json", "metrics.jsonl", "topology.jsonl", "train.log", "result.json"]
      #expect(names.isSuperset(of: expected + ["checkpoints", "tensorboard", "report.html"]))
      #expect(!names.contains { $0.hasPrefix(".") }, "\(names)")
      #expect(try files.contentsOfDirectory(atPath: run.folder + "/checkpoints") == ["step-00000025"])
      let configuration = String(decoding: try run.file("config.yaml"), as: UTF8.self)
      for line in ["model: \(model)", "seed: 3", "max-steps: 25", "batch-size: 64", "method: gse", "update-every: 10"] {
        #expect(configuration.contains(line + "\n"), "\(line)")
      }
      #expect(try RunProgram.object(run.file("environment.json"))["threads_granted"] as? Int == 2)
      #expect([UInt8](try run.file("result.json")) == run.program.output)
    }

    /// TensorBoard is shown what the logs say, in its own single precision.
    private func checkCurves(_ run: TrainedRun) throws {
      let files = try EventFiles(folder: run.folder + "/tensorboard")
      #expect(files.events.first?.version == "brain.Event:2" && !files.events.contains { $0.isStart })
      func expect(_ tag: String, _ points: [(Int?, Double?)]) {
        let found = files.points(of: tag)
        #expect(found.map(\.step) == points.map { $0.0 ?? -1 } && !found.isEmpty, "\(tag)")
        #expect(found.map(\.value) == points.map { Float($0.1 ?? .nan) }, "\(tag)")
      }
      let steps = try run.lines("metrics.jsonl").filter { $0["step"] != nil }
      for tag in ["train_loss", "learning_rate", "images_per_second"] {
        expect(tag, steps.map { ($0["step"] as? Int, $0[tag] as? Double) })
      }
      for tag in ["test_loss", "test_accuracy"] { expect(tag, [(25, run.result[tag] as? Double)]) }
      expect("exploration", [(11, run.result["exploration_rate"] as? Double)])
      let layers = try #require(run.result["layers"] as? [[String: Any]])
      for layer in layers {
        let name = try #require(layer["name"] as? String)
        let sizes = ["nnz", "inputs", "outputs"].map { Double(layer[$0] as? Int ?? -1) }
        let density = sizes[0] / (sizes[1] * sizes[2])
        expect("density/" + name, [(0, density), (11, density)])
      }
      #expect(files.tags.count == 6 + layers.count)
    }

    private func checkPhases(_ run: TrainedRun) throws {
      let phases = try #require(run.result["phases"] as? [[String: Any]])
      #expect(
        phases.map { $0["name"] as? String } == [
          "data", "forward", "input-gradient", "weight-gradient", "growth", "optimizer",
        ])
      let seconds = phases.map { $0["seconds"] as? Double ?? -1 }
      #expect(seconds.allSatisfy { $0 > 0 })
      #expect(seconds.reduce(0, +) <= run.result["train_seconds"] as? Double ?? 0)
      let state = try #require(run.result["weight_state_bytes"] as? Int)
      for phase in phases { #expect(phase["peak_bytes"] as? Int ?? 0 > state / 2, "\(phase)") }
      let report = String(decoding: try run.file("report.html"), as: UTF8.self)
      #expect(report.contains("Time by phase") && report.contains("weight gradient"))
    }

    private func checkMetrics(_ run: TrainedRun) throws {
      let lines = try run.lines("metrics.jsonl")
      let steps = lines.filter { $0["step"] != nil }
      #expect(steps.map { $0["step"] as? Int } == (1...25).map { $0 })
      for line in steps {
        for name in ["epoch", "train_loss", "learning_rate", "images_per_second"] { #expect(line[name] is Double) }
      }
      #expect(steps[0]["train_loss"] as? Double ?? 0 > 1)
      let epochs = lines.filter { $0["step"] == nil }
      #expect(epochs.count == 1)
      #expect(epochs[0]["epoch"] as? Int == 1)
      #expect(epochs[0]["test_loss"] as? Double == run.result["test_loss"] as? Double)
      #expect(epochs[0]["test_accuracy"] as? Double == run.result["test_accuracy"] as? Double)
      let updates = try run.lines("topology.jsonl")
      #expect(updates.map { $0["step"] as? Int } == [11])
      #expect(updates[0]["nnz"] as? Int == run.result["nnz"] as? Int)
    }

    private func checkProgress(_ run: TrainedRun) throws {
      let error = run.program.error
      #expect(!error.contains("\r") && !error.contains("\u{1B}"))
      #expect(run.program.errorLines.count >= 2)
      #expect(error.contains("step 1/25"))
      #expect(run.program.text.hasSuffix("}\n"))
      let log = String(decoding: try run.file("train.log"), as: UTF8.self)
      #expect(log.contains("step 1/25") && log.contains("epoch 1/1"))
    }

    @Test func withoutJSONTheResultIsForPeople() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--model", "mlp", "--hidden", "16", "--max-steps", "3", "--output", output.path])
      #expect(program.status == 0)
      #expect(program.text.contains("test accuracy") && program.text.contains("weights sha256"))
      #expect(!program.text.contains("{"))
    }

    @Test func theOutputFolderIsRunsByDefault() throws {
      let place = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--json", "--model", "mlp", "--hidden", "16", "--max-steps", "2"], in: place.path)
      #expect(program.status == 0)
      let runs = try FileManager.default.contentsOfDirectory(atPath: place.path + "/runs")
      #expect(try program.json()["run"] as? String == place.path + "/runs/" + (runs.first ?? ""))
    }

    @Test(arguments: ["static", "set", "dense"])
    func everyMethodRuns(_ method: String) throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        ["--model", "mlp", "--hidden", "32", "--max-steps", "25", "--method", method, "--update-every", "10"],
        output: output.path)
      let weights = 784 * 32 + 32 * 10
      #expect(run.result["method"] as? String == method)
      #expect(run.result["nnz"] as? Int == (method == "dense" ? weights : Int((0.1 * Double(weights)).rounded())))
      #expect(run.result["sparsity"] as? Double == (method == "dense" ? 0 : 0.9))
      let rate = try #require(run.result["exploration_rate"] as? Double)
      #expect(method == "dense" ? rate == 1 : rate >= 0.0999)
      #expect(try run.lines("topology.jsonl").count == (method == "set" ? 1 : 0))
    }

    /// Many steps between lines; the last epoch's line is there all the same.
    @Test func logsFollowTheirInterval() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        ["--model", "mlp", "--hidden", "16", "--max-steps", "20", "--log-every", "7"], output: output.path)
      #expect(try run.lines("metrics.jsonl").map { $0["step"] as? Int } == [7, 14, nil])
    }

    @Test func syntheticDataAreCalledSo() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        ["--dataset", "synthetic", "--model", "mlp", "--hidden", "16", "--max-steps", "2"], output: output.path)
      #expect(run.result["synthetic"] as? Bool == true)
    }

    @Test func divergenceIsReported() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--json", "--model", "mlp", "--hidden", "32", "--lr", "1e9", "--max-steps", "100"]
          + ["--output", output.path])
      #expect(program.status == 70)
      let result = try program.json()
      let reason = try #require(result["stopped"] as? String)
      #expect(reason.contains("diverged at step"))
      let folder = try #require(result["run"] as? String)
      #expect(FileManager.default.fileExists(atPath: folder + "/config.yaml"))
      #expect(program.errorLines.last?.hasPrefix("espalier: error: diverged at step") == true)
      let verified = try RunProgram.espalier(["resume", folder, "--verify", "--json"])
      #expect(verified.status == 70, "\(verified.error)")
      #expect((try verified.json()["stopped"] as? String)?.contains("diverged at step") == true)
    }

    /// The last weights are finite, their outputs are not: what is kept is the checkpoint before.
    @Test func divergenceLeavesAGoodCheckpoint() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--json", "--model", "mlp", "--hidden", "32", "--lr", "1e6", "--warmup-epochs", "1"]
          + ["--max-steps", "100", "--checkpoint-every", "1", "--keep", "1", "--output", output.path])
      #expect(program.status == 70, "\(program.error)")
      let result = try program.json()
      let folder = try #require(result["run"] as? String)
      let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints")
      #expect(names.count == 1, "\(names)")
      let path = "\(folder)/checkpoints/\(names.first ?? "none")"
      #expect(result["checkpoint"] as? String == path)
      #expect(program.errorLines.last?.hasSuffix("; the newest good checkpoint is \(path)") == true, "\(program.error)")
      let steps = try #require(result["steps"] as? Int)
      #expect(path.hasSuffix(String(format: "step-%08d", steps - 1)), "\(path) of \(steps)")
    }

    /// The last step's weights are first used by the evaluation.
    @Test func divergenceInTheLastStepIsReported() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--json", "--model", "mlp", "--hidden", "32", "--lr", "1e38", "--warmup-epochs", "0"]
          + ["--max-steps", "1", "--output", output.path])
      #expect(program.status == 70)
      let reason = try #require(try program.json()["stopped"] as? String)
      #expect(
        reason.contains("test loss is") && reason.contains("layer layers.") && !reason.contains("-nan"), "\(reason)")
    }

    @Test func aFullStandardOutputIsAWriteError() throws {
      let output = try IDXFolder()
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let path = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("espalier").path
      let arguments = "train --json --model mlp --hidden 8 --max-steps 2 --output '\(output.path)'"
      let program = try RunProgram.tool(["sh", "-c", "'\(path)' \(arguments) > /dev/full"])
      #expect(program.status == 74)
      #expect(program.errorLines.last?.hasPrefix("espalier: error: standard output") == true)
    }
  }

  /// Same seed, same weights.
  @Suite struct Repeatability {
    private static let perceptron = ["--model", "mlp", "--hidden", "64", "--max-steps", "24", "--update-every", "5"]
    private static let convolutions =
      ["--model", "vgg11-small", "--width", "0.25", "--max-steps", "12", "--update-every", "4", "--augment"]

    @Test(arguments: [perceptron, convolutions])
    func threadsDoNotMatter(_ arguments: [String]) throws {
      let output = try IDXFolder()
      let hashes = try [1, 2, 3, 5].map {
        try TrainedRun(arguments + ["--threads", "\($0)"], output: output.path).hash
      }
      #expect(Set(hashes).count == 1, "\(hashes)")
    }

    @Test func neitherDoTheEnvironmentsThreads() throws {
      let output = try IDXFolder()
      let environments: [[String: String?]] = [
        [:], ["OMP_NUM_THREADS": "1"], ["OMP_DYNAMIC": "true"], ["OMP_THREAD_LIMIT": "2"],
        ["OMP_SCHEDULE": "dynamic,1", "OPENBLAS_NUM_THREADS": "3", "LC_ALL": "C", "TZ": "Asia/Tokyo"],
      ]
      let hashes = try environments.map {
        try TrainedRun(Self.perceptron + ["--threads", "3"], environment: $0, output: output.path).hash
      }
      #expect(Set(hashes).count == 1, "\(hashes)")
    }

    @Test func anotherSeedIsAnotherRun() throws {
      let output = try IDXFolder()
      let hashes = try [0, 1].map { try TrainedRun(Self.perceptron + ["--seed", "\($0)"], output: output.path).hash }
      #expect(hashes[0] != hashes[1])
    }

    @Test func theInstructionSetCanBeForced() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(Self.perceptron, environment: ["ESPALIER_ISA": "scalar"], output: output.path)
      #expect(run.result["instruction_set"] as? String == "scalar")
      let environment = try RunProgram.object(run.file("environment.json"))
      #expect(environment["instruction_set"] as? String == "scalar")
      expectOneLine(
        try .espalier(["train"] + Self.perceptron, environment: ["ESPALIER_ISA": "mmx"]), status: 64,
        saying: "ESPALIER_ISA", "'mmx'", "scalar")
    }
  }

  @Suite struct Eval {
    @Test(arguments: ["gse", "dense"])
    func reproducesARunsNumbers(_ method: String) throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        ["--model", "mlp", "--hidden", "48,24", "--max-steps", "30", "--method", method, "--batch-size", "96"],
        output: output.path)
      let checkpoint = run.folder + "/checkpoints/step-00000030"
      for (path, threads) in [(run.folder, 1), (checkpoint, 2), (checkpoint + "/model.safetensors", 3)] {
        let program = try RunProgram.espalier(["eval", path, "--json", "--threads", "\(threads)"])
        #expect(program.status == 0, "\(program.error)")
        let result = try program.json()
        #expect(result["test_accuracy"] as? Double == run.result["test_accuracy"] as? Double)
        #expect(result["test_loss"] as? Double == run.result["test_loss"] as? Double)
        #expect(result["nnz"] as? Int == run.result["nnz"] as? Int)
        #expect(result["samples"] as? Int == 10_000)
      }
      let plain = try RunProgram.espalier(["eval", run.folder])
      #expect(plain.status == 0)
      #expect(plain.text.contains("test accuracy") && plain.text.contains("test loss"))
    }

    @Test func whatIsNoCheckpointIsRefused() throws {
      let place = try IDXFolder()
      expectOneLine(try .espalier(["eval", place.path + "/absent"]), status: 65, saying: place.path + "/absent")
      expectOneLine(try .espalier(["eval", place.path]), status: 65, saying: place.path)
      _ = try place.makeFolder("run/checkpoints")
      expectOneLine(
        try .espalier(["eval", place.path + "/run"]), status: 65, saying: place.path + "/run", "no checkpoint")
      let empty = try place.write([], to: "empty.safetensors")
      expectOneLine(try .espalier(["eval", empty]), status: 65, saying: empty)
      let text = try place.write([UInt8]("not weights at all".utf8), to: "text.safetensors")
      expectOneLine(try .espalier(["eval", text]), status: 65, saying: text)
    }

    @Test func aTruncatedCheckpointIsRefused() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(["--model", "mlp", "--hidden", "16", "--max-steps", "2"], output: output.path)
      let path = run.folder + "/checkpoints/step-00000002/model.safetensors"
      let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
      for count in [0, 5, 500, whole.count / 2, whole.count - 1] {
        try FileManager.default.removeItem(atPath: path)
        try Data(whole[..<count]).write(to: URL(fileURLWithPath: path))
        expectOneLine(try .espalier(["eval", run.folder]), status: 65, saying: path)
      }
    }
  }
}
