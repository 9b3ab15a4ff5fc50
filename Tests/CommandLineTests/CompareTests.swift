import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite struct Compare {
    private static let shared =
      ["--model", "mlp", "--hidden", "32", "--max-steps", "12", "--batch-size", "32", "--threads", "1"]
      + ["--update-every", "4"]

    private func compare(_ arguments: [String], output: IDXFolder) throws -> (
      program: RunProgram, rows: [[String: Any]]
    ) {
      let program = try RunProgram.espalier(
        ["compare", "--json", "--output", output.path] + Self.shared + arguments)
      #expect(program.status == 0, "\(program.error)")
      return (program, try #require(try program.json()["rows"] as? [[String: Any]]))
    }

    @Test func rowsAreTheRunsMeans() throws {
      let output = try IDXFolder()
      let (program, rows) = try compare(
        ["--methods", "static,gse,dense", "--sparsities", ".8,.9", "--seeds", "1,2", "--jobs", "2"], output: output)
      #expect(rows.map { $0["method"] as? String } == ["static", "static", "gse", "gse", "dense"])
      #expect(rows.map { $0["sparsity"] as? Double } == [0.8, 0.9, 0.8, 0.9, 0])
      let ended = program.errorLines.filter { $0.contains(": test accuracy ") }
      #expect(
        ended.map { $0.prefix { $0 != " " } } == (1...10).map { "[\($0)/10]" }, "one line a run: \(program.error)")
      for row in rows {
        for name in ["accuracy_mean", "accuracy_sd", "train_seconds", "peak_rss_bytes", "train_flops_ratio", "nnz"] {
          #expect(row[name] is NSNumber, "\(name)")
        }
        #expect(row["seeds"] as? [Int] == [1, 2])
      }
      #expect(rows[1]["nnz"] as? Int == Int((0.1 * Double(784 * 32 + 320)).rounded()))
      #expect(rows[4]["train_flops_ratio"] as? Double == 1)
      let alone = try [1, 2].map { seed in
        try TrainedRun(
          Self.shared + ["--method", "gse", "--sparsity", "0.9", "--seed", "\(seed)"], output: output.path)
      }
      let accuracies = alone.compactMap { $0.result["test_accuracy"] as? Double }
      #expect(rows[3]["accuracies"] as? [Double] == accuracies)
      #expect(abs((rows[3]["accuracy_mean"] as? Double ?? 0) - (accuracies[0] + accuracies[1]) / 2) < 1e-12)
      let deviation = abs(accuracies[0] - accuracies[1]) / 2.0.squareRoot()
      #expect(abs((rows[3]["accuracy_sd"] as? Double ?? -1) - deviation) < 1e-12)
    }

    /// Initial weights say the sparsity where no flag does; runs that began with others are not taken for those asked for.
    @Test func otherInitialWeightsAreNoticed() throws {
      let output = try IDXFolder()
      let weights = output.path + "/w.safetensors"
      func export(seed: String) throws {
        let run = try TrainedRun(
          Self.shared + ["--method", "static", "--sparsity", "0.95", "--seed", seed], output: output.path + "/runs")
        let program = try RunProgram.espalier(["export", run.folder, "--format", "safetensors", "--output", weights])
        #expect(program.status == 0, "\(program.error)")
      }
      let arguments = ["--methods", "static,dense", "--seeds", "1", "--init", weights]
      try export(seed: "1")
      let (first, rows) = try compare(arguments, output: output)
      #expect(rows[0]["nnz"] as? Int == Int((0.05 * Double(784 * 32 + 320)).rounded()))
      let folder = try #require(try first.json()["run"] as? String)
      #expect(try compare(arguments, output: output).program.error == "2 runs in \(folder), 0 to go\n")
      try export(seed: "2")
      let other = try RunProgram.espalier(["compare", "--json", "--output", output.path] + Self.shared + arguments)
      #expect(other.status == 65 && other.error.contains(weights) && other.error.contains("--output"), "\(other.error)")
    }

    @Test func whatHasEndedIsKept() throws {
      let output = try IDXFolder()
      let first = try compare(["--methods", "static", "--sparsities", "0.9", "--seeds", "1"], output: output)
      #expect(first.rows[0]["accuracy_sd"] is NSNull, "one run has no deviation")
      let folder = try #require(try first.program.json()["run"] as? String)
      for file in ["compare.csv", "compare.json", "compare.html"] {
        #expect(FileManager.default.fileExists(atPath: folder + "/" + file))
      }
      let more = try compare(["--methods", "static,set", "--sparsities", "0.9", "--seeds", "1,2"], output: output)
      #expect(more.program.error.hasPrefix("4 runs in \(folder), 3 to go\n"), "\(more.program.error)")
      let again = try compare(["--methods", "static,set", "--sparsities", "0.9", "--seeds", "1,2"], output: output)
      #expect(again.program.error == "4 runs in \(folder), 0 to go\n")
      #expect(try again.program.json()["rows"] as? NSArray == more.program.json()["rows"] as? NSArray)
    }

    /// Flags of one method, beside methods that would refuse them.
    @Test func eachRowTakesItsOwnFlags() throws {
      let output = try IDXFolder()
      let (_, rows) = try compare(
        ["--methods", "granet,set,dsr,gse", "--sparsities", ".9", "--seeds", "1", "--initial-sparsity", "0.6"]
          + ["--guide", "grabo", "--scope", "global"], output: output)
      #expect(rows.map { $0["method"] as? String } == ["granet", "set", "dsr", "gse"])
      #expect(Set(rows.compactMap { $0["nnz"] as? Int }).count == 1 && rows.allSatisfy { $0["nnz"] is NSNumber })
    }

    @Test func variantsHaveFlagsOfTheirOwn() throws {
      let output = try IDXFolder()
      let names = ["gse", "gse:gamma=0.25:exact-subset=true", "set:update-mode=add:augment=true", "dense:lr=0.01"]
      let (program, rows) = try compare(
        ["--methods", names.joined(separator: ", "), "--sparsities", "0.9", "--seeds", "1", "--gamma", "2"],
        output: output)
      #expect(
        rows.map { $0["method"] as? String } == names && rows.map { $0["sparsity"] as? Double } == [0.9, 0.9, 0.9, 0])
      let folder = try #require(try program.json()["run"] as? String)
      let cells = [
        "gse-0.9-1", "gse_gamma=0.25_exact-subset=true-0.9-1", "set_update-mode=add_augment=true-0.9-1",
        "dense_lr=0.01-0.0-1",
      ]
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder + "/cells").sorted() == cells.sorted())
      let settings = try cells.map { try String(contentsOfFile: "\(folder)/cells/\($0)/cell.yaml", encoding: .utf8) }
      #expect(settings[0].contains("gamma: 2\n") && settings[0].contains("guide: uniform"))
      #expect(settings[1].contains("gamma: 0.25") && settings[1].contains("exact-subset: true"))
      #expect(settings[2].contains("update-mode: add") && settings[2].contains("augment: true"))
      #expect(settings[3].contains("lr: 0.01") && settings[0].contains("lr: 0.05"))
      #expect(settings[3].contains("augment: false"))
      for file in ["compare.csv", "compare.html"] {
        let text = try String(contentsOfFile: folder + "/" + file, encoding: .utf8)
        #expect(names.allSatisfy { text.contains($0) }, "\(file)")
      }
      let alone = try TrainedRun(
        Self.shared + ["--method", "gse", "--gamma", "0.25", "--exact-subset", "--sparsity", "0.9", "--seed", "1"],
        output: output.path)
      #expect(rows[1]["accuracies"] as? [Double] == [try #require(alone.result["test_accuracy"] as? Double)])
    }

    /// Shared flags that contradict a variant's own give way.
    @Test func aVariantsFlagsWin() throws {
      let output = try IDXFolder()
      let variants = "set,set:optimizer=adamw:lr=0.001,set:schedule=cosine,set:distribution=erk"
      let (_, rows) = try compare(
        ["--methods", variants, "--sparsities", "0.9", "--seeds", "1", "--momentum", "0.8", "--milestones", "0.1"]
          + ["--distribution", "small-world", "--rewire", "0.2"], output: output)
      #expect(rows.count == 4 && rows.allSatisfy { $0["accuracy_mean"] is NSNumber })
    }

    /// Folders of before there were variants.
    @Test func plainMethodsKeepTheirFolders() throws {
      let output = try IDXFolder()
      let (program, _) = try compare(["--methods", "static", "--sparsities", ".9", "--seeds", "1"], output: output)
      let folder = try #require(try program.json()["run"] as? String)
      #expect(folder == output.path + "/compare-mlp-fashion-mnist-04b143bc")
      #expect(FileManager.default.fileExists(atPath: folder + "/cells/static-0.9-1/cell.yaml"))
    }

    @Test func filesAndRecipesMayNameAMethod() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(Self.shared + ["--method", "set", "--sparsity", "0.8"], output: output.path)
      let program = try RunProgram.espalier(
        ["compare", "--json", "--config", run.folder + "/config.yaml", "--methods", "static", "--output", output.path])
      #expect(program.status == 0, "\(program.error)")
      let rows = try #require(try program.json()["rows"] as? [[String: Any]])
      #expect(rows.map { $0["method"] as? String } == ["static"] && rows.map { $0["sparsity"] as? Double } == [0.8])
      let own = try RunProgram.espalier(
        ["compare", "--json", "--config", run.folder + "/config.yaml", "--output", output.path])
      #expect((try own.json()["rows"] as? [[String: Any]])?.map { $0["method"] as? String } == ["set"], "\(own.error)")
    }

    @Test func rowsThatOnlyDivergedStay() throws {
      let output = try IDXFolder()
      let arguments = ["--methods", "static", "--sparsities", "0.9", "--seeds", "1,2", "--lr", "1e30"]
      for left in [2, 0] {
        let (program, rows) = try compare(arguments, output: output)
        #expect(program.error.contains("\(left) to go"), "a run that diverged is not tried again")
        #expect(rows.count == 1 && rows[0]["diverged_seeds"] as? [Int] == [1, 2])
        #expect(rows[0]["accuracy_mean"] is NSNull && rows[0]["nnz"] is NSNull)
        let folder = try #require(try program.json()["run"] as? String)
        let csv = try String(contentsOfFile: folder + "/compare.csv", encoding: .utf8).split(separator: "\n")
        #expect(csv.count == 2 && csv[1] == "static,0.9,,,,,,,,,,,1;2,false")
      }
    }

    @Test func aFailedRunIsNamed() throws {
      let output = try IDXFolder()
      let arguments = ["compare", "--output", output.path, "--methods", "static", "--data-dir", "/nowhere"]
      let program = try RunProgram.espalier(arguments + Self.shared)
      #expect(program.status == 65 && program.error.contains("static 0.9 seed 0") && program.error.contains("/nowhere"))
    }

    /// One run cannot go on with what lies in its folder, another finds a file in its folder's place.
    @Test func failedRunsLeaveTheOthersAlone() throws {
      let output = try IDXFolder()
      let arguments = ["--methods", "static,set", "--sparsities", "0.9", "--seeds", "1,2", "--jobs", "2"]
      let first = try compare(["--methods", "static", "--sparsities", "0.9", "--seeds", "9"], output: output)
      let folder = try #require(try first.program.json()["run"] as? String)
      let damaged = folder + "/cells/static-0.9-1/some-run"
      try FileManager.default.createDirectory(atPath: damaged, withIntermediateDirectories: true)
      try "bogus: 1\n".write(toFile: damaged + "/config.yaml", atomically: true, encoding: .utf8)
      let taken = folder + "/cells/set-0.9-2"
      try "".write(toFile: taken, atomically: true, encoding: .utf8)

      let program = try RunProgram.espalier(["compare", "--json", "--output", output.path] + Self.shared + arguments)
      let error = try #require(program.errorLines.last)
      #expect(error.hasPrefix("espalier: error: 2 of 4 runs failed"), "\(program.error)")
      for name in ["static 0.9 seed 1: ", "set 0.9 seed 2: "] {
        #expect(error.contains(name) && program.errorLines.contains { $0.contains(name + "failed: ") }, "\(name)")
      }
      #expect(error.contains(folder + "/cells/static-0.9-1/log.txt") && error.contains(taken + "/log.txt"))
      let words = try #require(program.errorLines.first { $0.contains("failed: ") })
      #expect(program.status == (words.contains("static") ? 65 : 74), "the first failure's code: \(program.error)")
      let result = try program.json()
      #expect((result["rows"] as? [[String: Any]])?.map { $0["seeds"] as? [Int] } == [[2], [1]])
      #expect((result["failed"] as? [[String: Any]])?.count == 2)
      let csv = try String(contentsOfFile: folder + "/compare.csv", encoding: .utf8).split(separator: "\n")
      #expect(csv.count == 3)
      #expect(try String(contentsOfFile: folder + "/compare.html", encoding: .utf8).contains("set 0.9 seed 2: "))

      try FileManager.default.removeItem(atPath: damaged)
      try FileManager.default.removeItem(atPath: taken)
      let again = try compare(arguments, output: output)
      #expect(again.program.error.hasPrefix("4 runs in \(folder), 2 to go\n"), "\(again.program.error)")
      #expect(again.rows.map { $0["seeds"] as? [Int] } == [[1, 2], [1, 2]])
      #expect((try again.program.json()["failed"] as? [Any])?.isEmpty == true)
    }

    @Test func resultsOfAnotherVersionAreWarnedOf() throws {
      let output = try IDXFolder()
      let arguments = ["--methods", "static", "--sparsities", "0.9", "--seeds", "1,2,3"]
      let first = try compare(arguments, output: output)
      #expect(!first.program.error.contains("warning"))
      let folder = try #require(try first.program.json()["run"] as? String)
      for (seed, commit) in [(1, "0123456789ab"), (3, "fedcba987654")] {
        let place = "\(folder)/cells/static-0.9-\(seed)"
        let run = try #require(FileManager.default.contentsOfDirectory(atPath: place).first { $0.hasPrefix("mlp-") })
        try #"{"commit": "\#(commit)"}"#.write(
          toFile: "\(place)/\(run)/environment.json", atomically: true, encoding: .utf8)
      }
      let again = try compare(arguments, output: output)
      let warnings = again.program.errorLines.filter { $0.contains("warning") }
      #expect(warnings.count == 1 && again.program.errorLines.count == 2, "\(again.program.error)")
      #expect(
        warnings.first?.contains(": 1 of commit 0123456789ab, 1 of commit fedcba987654; ") == true)
      #expect(again.rows.map { $0["seeds"] as? [Int] } == [[1, 2, 3]])
    }

    /// Until it is told to stop, a comparison says where its runs are, and how long all of them will take.
    @Test func aSignalStopsEveryRun() throws {
      let output = try IDXFolder()
      let program = Process()
      let log = output.path + "/said.txt"
      try "".write(toFile: log, atomically: true, encoding: .utf8)
      let said = { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }
      program.executableURL = URL(fileURLWithPath: try KilledRun.path())
      program.arguments =
        ["compare", "--output", output.path, "--methods", "static,set", "--seeds", "1,2", "--jobs", "2"]
        + Self.shared.map { $0 == "12" ? "100000" : $0 }
      program.standardError = FileHandle(forWritingAtPath: log)
      try program.run()
      let runs = { (FileManager.default.subpaths(atPath: output.path) ?? []).filter { $0.hasSuffix("/metrics.jsonl") } }
      let line =
        #/\[0\/4\] static 0\.9 seed 1: step \d+\/100000; static 0\.9 seed 2: step \d+\/100000; some \d+:\d\d:\d\d left\n/#
      for _ in 0..<1200 where program.isRunning && said().firstMatch(of: line) == nil { usleep(50_000) }
      #expect(said().firstMatch(of: line) != nil, "\(said())")
      program.terminate()
      program.waitUntilExit()
      #expect(program.terminationReason == .exit && program.terminationStatus == 75)
      #expect(said().hasSuffix("espalier: stopped: received SIGTERM; the same command goes on\n"), "\(said())")
      #expect(runs().count == 2 && !said().contains("\r"))
      for run in runs() {
        let place = output.path + "/" + run.replacing("/metrics.jsonl", with: "")
        let descriptor = open(place, O_RDONLY)
        defer { close(descriptor) }
        #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0, "no process trains \(run) any more")
      }
    }

    /// The time is that of all runs together; what they have done by then is not lost.
    @Test func theEndOfItsTimeIsTold() throws {
      let output = try IDXFolder()
      let arguments = ["compare", "--json", "--output", output.path, "--methods", "static"] + Self.shared
      let program = try RunProgram.espalier(
        arguments.map { $0 == "12" ? "1000000" : $0 } + ["--max-time", "3s"])
      #expect(program.status == 75, "\(program.error)")
      #expect(try program.json()["stopped"] as? String == "max-time 3s is over")
      #expect(program.error.hasSuffix("espalier: stopped: max-time 3s is over; the same command goes on\n"))
      let files = FileManager.default.subpaths(atPath: output.path) ?? []
      #expect(files.contains { $0.hasSuffix("/state.json") }, "the run has a checkpoint: \(files)")
    }

    @Test(arguments: [
      (["--methods", "gse,bogus"], "bogus"), (["--methods", "gse", "--sparsities", ".9,2"], "sparsity"),
      (["--methods", "gse", "--seeds", "1,x"], "seeds"), (["--methods", "gse", "--method", "set"], "--methods"),
      (["--methods", "gse", "--jobs", "-1"], "jobs"), (["--methods", "gse", "--max-time", "soon"], "max-time"),
      (["--methods", "gse", "--local-batch-norm"], "local-batch-norm"), (["--methods", ""], "methods"),
      ([], "--methods"),
      (["--methods", "gse:gama=0.5"], "methods: 'gse:gama=0.5': unknown key 'gama'; did you mean 'gamma'?"),
      (["--methods", "gse:model=mlp"], "'model'"), (["--methods", "gse:seed=2"], "'seed'"),
      (["--methods", "gse:"], "methods: 'gse:'"), (["--methods", "gse:gamma"], "gamma: expected a value"),
      (["--methods", "gse:gamma="], "gamma: expected a value"), (["--methods", "gse:gamma=high"], "'high' is invalid"),
      (["--methods", "gse:gamma=1:gamma=2"], "gamma twice"), (["--methods", "gse:augment=3"], "true or false"),
      (["--methods", "set:guide=grabo"], "methods: 'set:guide=grabo': guide: only method gse takes it"),
      (["--methods", "gse:guide=grab"], "did you mean 'grabo'?"), (["--methods", "gsee:gamma=1"], "'gsee' is unknown"),
      (["--methods", "set,rigl:alpha=0.3", "--guide", "grabo"], "guide: none of the methods set,rigl:alpha=0.3"),
      (["--methods", "gse,static", "--rounds", "3"], "rounds: none of the methods gse,static takes it"),
    ])
    func badFlagsAreRefused(arguments: [String], word: String) throws {
      expectOneLine(try RunProgram.espalier(["compare"] + arguments), status: 64, saying: word)
    }
  }
}
