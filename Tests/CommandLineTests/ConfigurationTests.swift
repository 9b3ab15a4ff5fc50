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

    /// As binary numbers hold it, a third has 17 digits; every number is written in all of them, and words as they were given.
    @Test(arguments: [
      ["--width", "--sparsity", "--gamma", "--alpha", "--update-until", "--lr", "--momentum", "--weight-decay"]
        + ["--warmup-epochs", "--label-smoothing", "--clip-norm", "--deephoyer", "--validation"],
      ["--method=granet", "--initial-sparsity"], ["--method=topkast", "--backward-sparsity"],
      ["--distribution=small-world", "--rewire"],
    ])
    func everyNumberIsWrittenExactly(_ flags: [String]) throws {
      let output = try IDXFolder()
      let third = 1.0 / 3
      let numbers = flags.filter { !$0.contains("=") }
      let more = flags.filter { $0.contains("=") } + numbers.map { "\($0)=\(third)" }
      let first = try TrainedRun(
        Self.tiny + more + ["--milestones", "\(third),\(2 * third)", "--powerprop", "\(4 * third)"], output: output.path
      )
      let lines = String(decoding: try first.file("config.yaml"), as: UTF8.self).split(separator: "\n")
      for name in numbers { #expect(lines.contains("\(name.dropFirst(2)): \(third)"), "\(name)") }
      #expect(lines.contains("- \(third)") && lines.contains("- \(2 * third)"))
      #expect(lines.contains("powerprop: \(4 * third)") && lines.contains("model: mlp"))
      let second = try TrainedRun(["--config", first.folder + "/config.yaml"], output: output.path)
      #expect(first.hash == second.hash)
      #expect(try first.file("config.yaml") == second.file("config.yaml"))
    }

    /// A run's configuration names the same places from any folder.
    @Test func relativePlacesBecomeAbsolute() throws {
      let place = try IDXFolder()
      let first = try TrainedRun(Self.tiny, output: place.path)
      let export = ["export", first.folder, "--format", "safetensors", "--output", place.path + "/weights"]
      #expect(try RunProgram.espalier(export).status == 0)
      try FileManager.default.createSymbolicLink(atPath: place.path + "/data", withDestinationPath: fashionMNIST)
      let program = try RunProgram.espalier(
        ["train", "--json", "--data-dir", "data", "--init", "weights", "--output", "runs"] + Self.tiny, in: place.path)
      #expect(program.status == 0, "\(program.error)")
      let folder = try #require(try program.json()["run"] as? String)
      #expect(folder.hasPrefix(place.path + "/runs/"))
      let configuration = try String(contentsOfFile: folder + "/config.yaml", encoding: .utf8)
      for line in ["data-dir: \(place.path)/data", "init: \(place.path)/weights", "output: \(place.path)/runs"] {
        #expect(configuration.contains(line + "\n"), "\(configuration)")
      }
    }

    /// As in training. Under another name, so that no usual place has the data.
    @Test func evaluationFindsTheRunsData() throws {
      let place = try IDXFolder()
      let run = try TrainedRun(
        Self.tiny + ["--dataset", "mnist", "--data-dir", fashionMNIST], output: place.path + "/runs")
      for path in ["", "/", "/checkpoints/step-00000012", "/checkpoints/step-00000012/"].map({ run.folder + $0 }) {
        let program = try RunProgram.espalier(
          ["eval", path, "--json"], environment: ["ESPALIER_DATA": "/nonexistent", "HOME": "/nonexistent"])
        #expect(program.status == 0, "\(program.error)")
        #expect(try program.json()["test_loss"] as? Double == run.result["test_loss"] as? Double)
      }
    }

    /// What YAML would take for something else keeps its quotes.
    @Test func everyWordIsReadBackAsItIs() throws {
      let place = try IDXFolder()
      for name in ["a: b #c", "\u{e4} \"x\" \\y"] {
        let first = try TrainedRun(Self.tiny, output: "\(place.path)/\(name)")
        let program = try RunProgram.espalier(["train", "--json", "--config", first.folder + "/config.yaml"])
        #expect(program.status == 0, "\(program.error)")
        let folder = try program.json()["run"] as? String
        #expect(folder?.hasPrefix("\(place.path)/\(name)/") == true, "\(folder ?? "none")")
      }
    }

    @Test(arguments: [
      ("sparsty: 0.9", 64, "line 1: unknown key 'sparsty'; did you mean 'sparsity'?"),
      ("model: mlp\nwarmup: 3", 64, "line 2: unknown key 'warmup'; did you mean 'warmup-epochs'?"),
      ("dataset: mnits", 64, "line 1: dataset: 'mnits' is unknown"), ("sparsity: high", 64, "'high' is invalid"),
      ("augment: 3", 64, "line 1: augment: expected true or false"),
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
      #expect(program.error.contains(path))
    }

    /// The file and the line where it is the file's value that is wrong.
    @Test func wrongValuesAreFoundWhereTheyAre() throws {
      let folder = try IDXFolder()
      let path = try write("model: mlp\nsparsity: 0.5\nlr: -1\n", in: folder)
      let train = ["train", "--output", folder.path, "--config", path]
      expectOneLine(try .espalier(train), status: 64, saying: "error: \(path), line 3: lr: -1.0 is out of range")
      expectOneLine(try .espalier(train + ["--lr", "0"]), status: 64, saying: "error: lr: 0.0 is out of range")
      expectOneLine(try .espalier(train + ["--lr=1", "--gamma=0"]), status: 64, saying: "error: gamma: 0.0")
    }

    /// A run's own file has what train wrote and nothing else.
    @Test(arguments: [
      ("sparsity: 0.9", "sparsty: 0.9", "unknown key 'sparsty'; did you mean 'sparsity'?"),
      ("sparsity: 0.9", "sparsity: high", ": sparsity has a value that it cannot have"),
      ("method: gse", "method: gsee", ": method has a value that it cannot have"),
      ("sparsity: 0.9\n", "", ": sparsity is missing"), ("keep: 2", "keep: 0", "keep: 0 is out of range"),
    ])
    func aDamagedConfigurationOfARunIsNamed(old: String, new: String, words: String) throws {
      let output = try IDXFolder()
      let run = try TrainedRun(Self.tiny, output: output.path)
      let path = run.folder + "/config.yaml"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      try #require(text.contains(old))
      try text.replacing(old, with: new).write(toFile: path, atomically: true, encoding: .utf8)
      let program = try RunProgram.espalier(["resume", run.folder])
      expectOneLine(program, status: 65, saying: path, words)
      let lines = text.split(separator: "\n")
      let line = try #require(lines.firstIndex { $0.hasPrefix(old.prefix { $0 != ":" }) }) + 1
      if !new.isEmpty, !new.hasPrefix("keep") { #expect(program.error.contains("\(path), line \(line)")) }
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
      #expect(configuration.contains("sparsity: 0.98\n"))
      #expect(configuration.contains("update-mode: add") && configuration.contains("epochs: 4"))
      expectOneLine(
        try RunProgram.espalier(["train", "--preset", "cifar10-resnet56-97"]), status: 64,
        saying: "cifar10-resnet56-97", "did you mean 'cifar10-resnet56-9")
    }

    /// What the new method or model has no use for is left out, though flags that were given would be refused.
    @Test(arguments: [
      (["--guide=grabo", "--audit=3", "--extra-batches=2", "--scope=global", "--exact-subset"], ["--method=snip"]),
      (["--method=topkast", "--backward-sparsity=0.7"], ["--method=set"]),
      (["--method=granet", "--initial-sparsity=0.3", "--powerprop=2"], ["--method=dense"]),
      (["--method=lottery", "--rounds=3", "--rewind-step=1"], ["--method=gradual"]),
      (["--method=gradual", "--prune-schedule=cosine", "--scope=global"], ["--method=mest"]),
      (["--distribution=small-world", "--rewire=0.3"], ["--method=synflow"]),
      (["--distribution=small-world", "--rewire=0.3"], ["--distribution=erk"]),
      (["--schedule=step", "--milestones=1"], ["--schedule=cosine", "--optimizer=adamw", "--lr=0.001"]),
      (["--width=0.25"], ["--model=vgg11-small", "--max-steps=1"]),
    ])
    func aFilesMethodAndModelCanBeChanged(_ before: [String], _ changes: [String]) throws {
      let output = try IDXFolder()
      let first = try TrainedRun(Self.tiny + before, output: output.path)
      let second = try TrainedRun(["--config", first.folder + "/config.yaml"] + changes, output: output.path)
      let text = String(decoding: try second.file("config.yaml"), as: UTF8.self)
      for change in changes { #expect(text.contains(change.dropFirst(2).replacing("=", with: ": ") + "\n"), "\(text)") }
    }

    /// A file behind a recipe wins over it, and a recipe behind a file over that.
    @Test func filesAndRecipesCountInTheirOrder() throws {
      let output = try IDXFolder()
      let file = try write("lr: 0.05\nwidth: 0.25\nmax-steps: 1\nbatch-size: 8", in: output)
      let orders = [
        (["--preset", "fashion-mnist-vgg16-98", "--config", file], 0.05),
        (["--config=\(file)", "--preset=fashion-mnist-vgg16-98", "--batch-size", "8"], 0.1),
      ]
      for (arguments, rate) in orders {
        let program = try RunProgram.espalier(["train", "--dry-run", "--json"] + arguments)
        #expect(program.status == 0, "\(program.error)")
        let configuration = try #require(try program.json()["configuration"] as? [String: Any])
        #expect(configuration["lr"] as? Double == rate && configuration["width"] as? Double == 0.25)
        #expect(configuration["batch-size"] as? Int == 8)
      }
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
