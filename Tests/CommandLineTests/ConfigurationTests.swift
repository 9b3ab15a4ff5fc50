import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Configuration files, presets and `--dry-run`.
  @Suite struct Configuration {
    private static let tiny =
      ["--model", "mlp", "--hidden", "32,16", "--max-steps", "12", "--batch-size", "32", "--threads", "1"]
      + ["--update-every", "4"]

    private func write(_ text: String, in folder: IDXFolder, as name: String = "settings.yaml") throws -> String {
      let path = folder.path + "/" + name
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return path
    }

    @Test(arguments: [
      [], ["--schedule", "cosine"], ["--milestones", ""], ["--no-shuffle", "--augment"],
      ["--optimizer", "adamw", "--lr", "0.001"], ["--method", "topkast", "--backward-sparsity", "0.7"],
      ["--extra-batches", "2", "--audit", "3", "--guide", "grabo", "--exact-subset"],
      ["--distribution", "small-world", "--rewire", "0.3"], ["--powerprop", "2", "--deephoyer", "0.001"],
    ])
    func aRunsConfigurationRepeatsIt(_ more: [String]) throws {
      let output = try IDXFolder()
      let first = try TrainedRun(Self.tiny + more, output: output.path)
      let second = try TrainedRun(["--config", first.folder + "/config.yaml"], output: output.path)
      #expect(first.hash == second.hash && first.folder != second.folder)
      #expect(try first.file("config.yaml") == second.file("config.yaml"))
      let third = try TrainedRun(["--config=\(first.folder)/config.yaml", "--seed", "9"], output: output.path)
      #expect(third.hash != first.hash && third.result["seed"] as? Int == 9, "flags beside a file win")
    }

    @Test(arguments: [
      ("sparsty: 0.9", 64, "line 1: unknown key 'sparsty'; did you mean 'sparsity'?"),
      ("model: mlp\nwarmup: 3", 64, "line 2: unknown key 'warmup'; did you mean 'warmup-epochs'?"),
      ("sparsity: high", 64, "'high' is invalid"), ("augment: 3", 64, "line 1: augment: expected true or false"),
      ("milestones: [[1], 2]", 64, "milestones: expected a list of numbers"),
      ("model: {a: b}", 64, "model: expected a value"), ("sparsity: 2", 64, "sparsity: 2.0 is out of range"),
      ("- model", 65, "expected keys with values"), ("model: [", 65, "is not YAML"),
      ("model: mlp\nmodel: mlp", 65, "is not YAML"), ("model: |\n  a\n  b\n", 64, "model: 'a b ' is unknown"),
    ])
    func badFilesAreOneLine(text: String, status: Int32, words: String) throws {
      let folder = try IDXFolder()
      let path = try write(text, in: folder)
      let program = try RunProgram.espalier(["train", "--config", path, "--output", folder.path])
      expectOneLine(program, status: status, saying: words)
      if !words.hasPrefix("sparsity: 2") && !words.hasPrefix("model: 'a") { #expect(program.error.contains(path)) }
    }

    @Test func anAbsentFileIsNamed() throws {
      expectOneLine(
        try RunProgram.espalier(["train", "--config", "/nowhere.yaml"]), status: 65, saying: "/nowhere.yaml")
    }

    @Test func presetsAreRecipes() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        ["--preset", "fashion-mnist-vgg16-98", "--max-steps", "2", "--batch-size", "8", "--width", "0.25"],
        output: output.path)
      let configuration = String(decoding: try run.file("config.yaml"), as: UTF8.self)
      #expect(configuration.contains("sparsity: 9.8e-1") || configuration.contains("sparsity: 0.98"))
      #expect(configuration.contains("update-mode: add") && configuration.contains("epochs: 4"))
      expectOneLine(
        try RunProgram.espalier(["train", "--preset", "cifar10-resnet56-97"]), status: 64,
        saying: "cifar10-resnet56-97", "did you mean 'cifar10-resnet56-9")
    }

    @Test func aDryRunTrainsNothing() throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--dry-run", "--json", "--output", output.path + "/runs"] + Self.tiny)
      #expect(program.status == 0, "\(program.error)")
      let result = try program.json()
      let configuration = try #require(result["configuration"] as? [String: Any])
      #expect(configuration["max-steps"] as? Int == 12 && configuration["update-every"] as? Int == 4)
      let plan = try #require(result["plan"] as? [String: Any])
      #expect(plan["sparsifiable_weights"] as? Int == 784 * 32 + 32 * 16 + 16 * 10)
      #expect(!FileManager.default.fileExists(atPath: output.path + "/runs"))
      expectOneLine(
        try RunProgram.espalier(["train", "--dry-run", "--sparsity", "1"]), status: 64, saying: "sparsity")
    }
  }
}
