import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Runs that end before their end, and go on.
  @Suite struct Resume {
    /// Some 90 steps in three epochs' parts, updates, checkpoints every few steps.
    static let tiny =
      ["--model", "mlp", "--hidden", "16", "--batch-size", "64", "--max-steps", "90", "--update-every", "10"]
      + ["--checkpoint-every", "7", "--log-every", "1", "--threads", "1"]

    static func resume(_ folder: String, _ arguments: [String] = []) throws -> RunProgram {
      try .espalier(["resume", folder, "--json"] + arguments)
    }

    /// Same weights, history and logs as the undisturbed run.
    func expectSame(
      _ result: [String: Any], _ folder: String, as whole: TrainedRun, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let hash = try #require(result["weights_sha256"] as? String, sourceLocation: sourceLocation)
      #expect(hash == whole.hash, sourceLocation: sourceLocation)
      for name in ["test_accuracy", "test_loss", "exploration_rate", "train_flops_per_sample", "updates"] {
        let found = try #require(result[name] as? Double, "\(name)", sourceLocation: sourceLocation)
        #expect(found == whole.result[name] as? Double, "\(name)", sourceLocation: sourceLocation)
      }
      for (file, keys) in [
        ("metrics.jsonl", ["step", "epoch", "train_loss", "learning_rate", "test_loss"]),
        ("topology.jsonl", ["step", "nnz", "grown"]),
      ] {
        let expected = try whole.lines(file).map { line in keys.map { line[$0] as? Double } }
        for (i, key) in keys.enumerated() {
          try #require(expected.contains { $0[i] != nil }, "\(file): \(key)", sourceLocation: sourceLocation)
        }
        let text = try String(contentsOfFile: folder + "/" + file, encoding: .utf8)
        let found = try text.split(separator: "\n").map { try RunProgram.object(Data($0.utf8)) }.map { line in
          keys.map { line[$0] as? Double }
        }
        #expect(found == expected, "\(file)", sourceLocation: sourceLocation)
      }
      try expectSameCurves(folder, as: whole, sourceLocation: sourceLocation)
      let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(!names.contains { $0.hasPrefix(".") }, "\(names)", sourceLocation: sourceLocation)
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
          == ["step-00000084", "step-00000090"], sourceLocation: sourceLocation)
    }

    /// Neither lost nor doubled: TensorBoard sees every point of the undisturbed run once.
    private func expectSameCurves(_ folder: String, as whole: TrainedRun, sourceLocation: SourceLocation) throws {
      let expected = try EventFiles(folder: whole.folder + "/tensorboard")
      let found = try EventFiles(folder: folder + "/tensorboard")
      #expect(found.tags == expected.tags, sourceLocation: sourceLocation)
      for tag in expected.tags {
        let (a, b) = (found.points(of: tag), expected.points(of: tag))
        #expect(a.map(\.step) == b.map(\.step), "\(tag)", sourceLocation: sourceLocation)
        guard tag != "images_per_second" else { continue }
        #expect(a.map(\.value) == b.map(\.value), "\(tag)", sourceLocation: sourceLocation)
      }
    }

    /// A finished run's flags are looked at, too.
    @Test func aFinishedRunRefusesBadFlags() throws {
      let place = try IDXFolder()
      let whole = try TrainedRun(Self.tiny, output: place.path)
      for flags in [["--threads", "0"], ["--max-time", "soon"]] {
        expectOneLine(
          try RunProgram.espalier(["resume", whole.folder] + flags), status: 64,
          saying: flags[0].dropFirst(2).description)
      }
    }

    /// Five moments from before the run's folder to its end, spread by the golden ratio, and five steps; another number of threads each
    /// time.
    @Test func killedAtAnyMomentARunEndsTheSame() throws {
      let place = try IDXFolder()
      // Steps long enough for runs to be killed between them.
      let arguments = Self.tiny + ["--batch-size", "512"]
      let started = ContinuousClock.now
      let whole = try TrainedRun(arguments, output: place.path + "/whole")
      let seconds = (ContinuousClock.now - started) / .seconds(1)
      var midway = 0
      for attempt in 0..<10 {
        let output = place.path + "/\(attempt)"
        let moment = seconds * (Double(attempt) * 0.618).truncatingRemainder(dividingBy: 1)
        if attempt % 2 == 0 {
          try KilledRun.train(arguments + ["--output", output], after: moment)
        } else {
          try KilledRun.train(arguments + ["--output", output], signal: SIGKILL, afterSteps: 7 * attempt)
        }
        guard let folder = KilledRun.folder(in: output) else { continue }
        if Self.isMidway(folder) { midway += 1 }
        // Once more on its way.
        try KilledRun.espalier(["resume", folder], after: moment)
        if Self.isMidway(folder) { midway += 1 }
        let program = try Self.resume(folder, ["--threads", "\(1 + attempt % 3)"])
        #expect(program.status == 0, "killed after \(moment) s: \(program.error)")
        try expectSame(program.json(), folder, as: whole)
      }
      #expect(midway > 0, "no run was killed between its first checkpoint and its result")
    }

    /// Whether a run has a checkpoint and no result.
    private static func isMidway(_ folder: String) -> Bool {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints")) ?? []
      return names.contains { $0.hasPrefix("step-") }
        && !FileManager.default.fileExists(atPath: folder + "/result.json")
    }

    @Test(arguments: [SIGINT, SIGTERM, SIGUSR1])
    func aSignalStopsARunAfterItsStep(_ signal: Int32) throws {
      let place = try IDXFolder()
      // Steps long enough for the signal to come before the end; should it come too late all the same, once more.
      let arguments = Self.tiny + ["--seed", "4", "--batch-size", "512"]
      let whole = try TrainedRun(arguments, output: place.path + "/whole")
      func stop(attempt: Int) throws -> RunProgram {
        let output = place.path + "/stopped-\(attempt)"
        return try KilledRun.train(arguments + ["--json", "--output", output], signal: signal, afterSteps: 3)
      }
      var program = try stop(attempt: 0)
      for attempt in 1..<10 where program.status == 0 { program = try stop(attempt: attempt) }
      #expect(program.status == 75, "\(program.error)")
      let stopped = try program.json()
      #expect((stopped["stopped"] as? String)?.contains("SIG") == true)
      let folder = try #require(stopped["run"] as? String)
      let steps = try #require(stopped["steps"] as? Int)
      let name = "step-" + String(format: "%08d", steps)
      #expect(FileManager.default.fileExists(atPath: folder + "/checkpoints/" + name + "/SHA256SUMS"))
      #expect(!FileManager.default.fileExists(atPath: folder + "/result.json"))
      let finished = try Self.resume(folder, ["--threads", "2"])
      #expect(finished.status == 0, "\(finished.error)")
      try expectSame(finished.json(), folder, as: whole)
      #expect(finished.error.contains("resumed after step \(steps)"))

      // A finished run says the same again.
      let again = try Self.resume(folder + "/")
      #expect(again.status == 0 && again.output == finished.output)
      let plain = try RunProgram.espalier(["resume", folder])
      #expect(plain.status == 0 && plain.text.contains("weights sha256  \(whole.hash ?? "?")"))
    }

    /// Asked to stop before its folder is there, a run begins, stops before its first step and can be resumed; so does one that goes on.
    @Test func aSignalWhileDataAreReadStopsARunBeforeItsStep() throws {
      let place = try IDXFolder()
      let whole = try TrainedRun(Self.tiny, output: place.path + "/whole")
      let output = place.path + "/stopped"
      let program = try KilledRun.espalier(
        ["train", "--json", "--output", output] + Self.tiny, whileLoading: "kill -TERM $child",
        in: place.path + "/stopped")
      #expect(program.status == 75, "\(program.error)")
      let stopped = try program.json()
      #expect(stopped["steps"] as? Int == 0 && stopped["stopped"] as? String == "received SIGTERM")
      let folder = try #require(stopped["run"] as? String)
      for name in ["train.log", "environment.json"] {
        try FileManager.default.removeItem(atPath: folder + "/" + name)
      }
      let again = try KilledRun.espalier(["resume", folder, "--json"], whileLoading: "kill -INT $child", in: folder)
      #expect(again.status == 75, "\(again.error)")
      #expect(try again.json()["steps"] as? Int == 0)
      let finished = try Self.resume(folder)
      #expect(finished.status == 0, "\(finished.error)")
      try expectSame(finished.json(), folder, as: whole)
    }

    /// The process is held while it reads its data until its time is over.
    @Test func readingDataIsPartOfTheTime() throws {
      let place = try IDXFolder()
      let program = try KilledRun.espalier(
        ["train", "--json", "--output", place.path + "/runs", "--max-time", "1s"] + Self.tiny,
        whileLoading: "kill -STOP $child; sleep 1.1; kill -CONT $child", in: place.path)
      #expect(program.status == 75, "\(program.error)")
      let stopped = try program.json()
      #expect(stopped["steps"] as? Int == 0 && stopped["stopped"] as? String == "max-time 1s is over")
    }

    @Test func theSecondSignalKills() throws {
      let place = try IDXFolder()
      // Steps so long that the second signal comes within the first's.
      let arguments =
        [
          "--model", "vgg11-small", "--batch-size", "2048", "--max-steps", "50", "--output", place.path, "--threads",
          "1",
        ]
      let program = try KilledRun.train(arguments, signal: SIGTERM, afterSteps: 0, twice: true)
      #expect(program.status == 128 + SIGTERM, "\(program.error)")
    }

    /// A run that was killed between two checkpoints.
    private func interrupted(_ output: String) throws -> String {
      try KilledRun.train(
        ["--model", "mlp", "--hidden", "16", "--batch-size", "64", "--epochs", "50", "--max-steps", "100000"]
          + ["--checkpoint-every", "20", "--log-every", "1", "--threads", "1", "--output", output], signal: SIGKILL,
        afterSteps: 100)
      return try #require(KilledRun.folder(in: output))
    }

    @Test func damagedCheckpointsAreSkippedLoudly() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path)
      // One more than are kept, where the run was killed in the step after it.
      let all = try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
      #expect((2...3).contains(all.count))
      let names = [String](all.suffix(2))
      let url = URL(fileURLWithPath: folder + "/checkpoints/\(names[1])/training.safetensors")
      var bytes = try Data(contentsOf: url)
      bytes[bytes.count - 1] ^= 1
      try bytes.write(to: url)
      // So that evaluation does not take weights that may be damaged.
      let verdict = try RunProgram.espalier(["eval", folder, "--json"])
      #expect(verdict.status == 0, "\(verdict.error)")
      #expect(try verdict.json()["checkpoint"] as? String == folder + "/checkpoints/\(names[0])")
      #expect(
        verdict.errorLines.first?.hasPrefix("espalier: warning: a damaged checkpoint is skipped: ") == true
          && verdict.error.contains(names[1]))
      let contents = try RunProgram.espalier(["inspect", folder, "--json"])
      #expect(contents.status == 0 && contents.errorLines.first == verdict.errorLines.first, "\(contents.error)")
      #expect(try contents.json()["step"] as? Int == Int(names[0].dropFirst(5)))
      expectOneLine(
        try .espalier(["eval", "\(folder)/checkpoints/\(names[1])"]), status: 65, saying: names[1],
        "training.safetensors", "damaged")
      let program = try Self.resume(folder, ["--max-time", "1s"])
      #expect(program.status == 75, "\(program.error)")
      #expect(
        program.error.contains("espalier: warning: a damaged checkpoint is skipped: ")
          && program.error.contains(names[1]))
      #expect(program.error.contains("resumed after step \(Int(names[0].dropFirst(5)) ?? -1) "))
    }

    @Test func otherSettingsAndOtherDataAreRefused() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path + "/run")
      let path = folder + "/config.yaml"
      let settings = try String(contentsOfFile: path, encoding: .utf8)
      for (old, new) in [
        ("momentum: 0.9", "momentum: 0.8"), ("momentum: 0.9", "momentum: x"), ("model: mlp", "model: mpl"),
      ] {
        try settings.replacing(old, with: new).write(toFile: path, atomically: true, encoding: .utf8)
        let program = try Self.resume(folder)
        #expect(program.status == 65 && program.output.isEmpty, "\(program.error)")
        #expect(program.errorLines.last?.contains("config.yaml") == true)
      }
      try settings.write(toFile: path, atomically: true, encoding: .utf8)

      try expectRefusalOfOtherLabels(by: folder, in: place)
    }

    /// One label of Fashion-MNIST is another.
    func expectRefusalOfOtherLabels(by folder: String, in place: IDXFolder) throws {
      let data = try place.makeFolder("data")
      for name in ["train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        try FileManager.default.createSymbolicLink(
          atPath: "\(data)/\(name).gz", withDestinationPath: "\(fashionMNIST)/\(name).gz")
      }
      var labels = try RunProgram.tool(["zcat", "\(fashionMNIST)/train-labels-idx1-ubyte.gz"]).output
      labels[8 + 12_345] = (labels[8 + 12_345] + 1) % 10
      try place.write(labels, to: "data/train-labels-idx1-ubyte")
      let program = try Self.resume(folder, ["--data-dir", data])
      #expect(program.status == 65, "\(program.error)")
      #expect(program.errorLines.last?.contains("data set fashion-mnist") == true)
    }

    /// No file may grow beyond a few blocks, as on a disk that has filled up.
    @Test func whatWasSavedSurvivesAFullDisk() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path)
      let before = try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
      let script = "ulimit -f 4; trap '' XFSZ; exec \"$0\" resume \"$1\" --json"
      let program = try RunProgram.tool(["bash", "-c", "(\(script)) 2> >(cat >&2)", KilledRun.path(), folder])
      #expect(program.status == 74, "\(program.error)")
      #expect(program.error.contains("espalier: error: "))
      let after = try FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints").sorted()
      #expect(after.suffix(2) == before.suffix(2))
      let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(!names.contains { $0.hasPrefix(".unfinished") }, "\(names)")
      let next = try Self.resume(folder, ["--max-time", "1s"])
      #expect(next.status == 75 && !next.error.contains("damaged"), "\(next.error)")
    }

    /// What TensorBoard is to read is written like everything else, or said not to be.
    @Test func curvesThatCannotBeWrittenEndTheRun() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path)
      try FileManager.default.removeItem(atPath: folder + "/tensorboard")
      try Data([1]).write(to: URL(fileURLWithPath: folder + "/tensorboard"))
      let program = try Self.resume(folder)
      #expect(program.status == 74, "\(program.error)")
      #expect(program.errorLines.last?.hasPrefix("espalier: error: \(folder)/tensorboard") == true, "\(program.error)")
    }

    @Test func verifyingLeavesTheRunAsItIs() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path)
      func names() throws -> [String] { try FileManager.default.subpathsOfDirectory(atPath: folder).sorted() }
      let before = try names()
      let program = try Self.resume(folder, ["--verify"])
      #expect(program.status == 0, "\(program.error)")
      let verdict = try program.json()
      #expect(verdict["equal"] as? Bool == true)
      #expect(verdict["uninterrupted"] as? String == verdict["resumed"] as? String)
      #expect((verdict["last_step"] as? Int ?? 0) - (verdict["first_step"] as? Int ?? 0) == 19)
      #expect(try names() == before)
      let whole = try TrainedRun(Self.tiny, output: place.path + "/whole")
      let plain = try RunProgram.espalier(["resume", whole.folder, "--verify"])
      #expect(plain.status == 0 && plain.text.hasPrefix("equal: steps 1 to 20 "), "\(plain.text)")
    }

    @Test func whatIsNoRunIsRefused() throws {
      let place = try IDXFolder()
      expectOneLine(try .espalier(["resume", place.path]), status: 65, saying: place.path, "config.yaml")
      expectOneLine(try .espalier(["resume", place.path + "/absent"]), status: 65, saying: "absent")
      try place.write([UInt8]("model: [".utf8), to: "config.yaml")
      expectOneLine(try .espalier(["resume", place.path]), status: 65, saying: "config.yaml")
      expectOneLine(try .espalier(["resume"]), status: 64, saying: "run")
    }

    @Test func aRunIsTrainedByOneProcessAtATime() throws {
      let place = try IDXFolder()
      let folder = try interrupted(place.path)
      let lock = try RunProgram.tool(["flock", folder, KilledRun.path(), "resume", folder])
      #expect(lock.status == 1, "\(lock.error)")
      #expect(lock.errorLines.last?.contains("another process") == true)
    }
  }
}
