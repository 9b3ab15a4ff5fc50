import Foundation
import TestSupport
import Testing

/// What a run finds in its folder, and what it leaves there.
extension CommandLineTests.Resume {
  /// Without a checkpoint a run begins anew, and with what it began with.
  @Test func otherInputsAreRefusedFromTheStartOn() throws {
    let place = try IDXFolder()
    func files(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }
    let first = try TrainedRun(Self.tiny, output: place.path + "/first")
    let other = try TrainedRun(Self.tiny + ["--seed", "1"], output: place.path + "/first")
    let weights = place.path + "/weights.safetensors"
    func export(_ run: TrainedRun) throws {
      let program = try RunProgram.espalier(["export", run.folder, "--format", "safetensors", "--output", weights])
      #expect(program.status == 0, "\(program.error)")
    }
    try export(first)
    let whole = try TrainedRun(Self.tiny + ["--init", weights], output: place.path + "/run")
    let folder = whole.folder
    for name in ["result.json", "report.html", "checkpoints"] {
      try FileManager.default.removeItem(atPath: folder + "/" + name)
    }
    try export(other)
    expectOneLine(try Self.resume(folder), status: 65, saying: weights, "is not the file that the run began with")
    try export(first)
    try expectRefusalOfOtherLabels(by: folder, in: place)
    let inputs = try files(folder + "/inputs.json")
    try Data("{}".utf8).write(to: URL(fileURLWithPath: folder + "/inputs.json"))
    expectOneLine(try Self.resume(folder), status: 65, saying: folder + "/inputs.json")
    try inputs.write(to: URL(fileURLWithPath: folder + "/inputs.json"))
    let finished = try Self.resume(folder)
    #expect(finished.status == 0, "\(finished.error)")
    try expectSame(finished.json(), folder, as: whole)
  }

  /// The result is there all the same: at the run's end, and when it is asked for again on a disk without room for the report.
  @Test func aReportThatCannotBeWrittenFailsNoRun() throws {
    let place = try IDXFolder()
    let whole = try TrainedRun(Self.tiny, output: place.path)
    let report = whole.folder + "/report.html"
    let files = FileManager.default
    for name in ["result.json", "report.html"] { try files.removeItem(atPath: whole.folder + "/" + name) }
    try files.createDirectory(atPath: report + "/occupied", withIntermediateDirectories: true)
    let program = try Self.resume(whole.folder)
    #expect(program.status == 0, "\(program.error)")
    #expect(try program.json()["weights_sha256"] as? String == whole.hash)
    #expect(program.error.contains("espalier: warning: no report: \(report): cannot write: "), "\(program.error)")
    try files.removeItem(atPath: report)
    let script = "ulimit -f 4; trap '' XFSZ; exec \"$0\" resume \"$1\" --json"
    let again = try RunProgram.tool(["bash", "-c", "(\(script)) 2> >(cat >&2)", KilledRun.path(), whole.folder])
    #expect(again.status == 0 && again.output == program.output, "\(again.error)")
    #expect(again.error.contains("espalier: warning: no report: \(report)"), "\(again.error)")
    #expect(!again.error.contains("--output"))
  }

  /// A result is one that has what a result has.
  @Test func anEmptyResultIsNone() throws {
    let place = try IDXFolder()
    let whole = try TrainedRun(Self.tiny, output: place.path)
    for text in ["{}", "", "{\"model\": \"mlp\"}"] {
      try text.write(toFile: whole.folder + "/result.json", atomically: true, encoding: .utf8)
      let program = try Self.resume(whole.folder)
      #expect(program.status == 0, "\(program.error)")
      #expect(try program.json()["weights_sha256"] as? String == whole.hash)
    }
  }

  @Test func aRunWithoutACheckpointIsCalledSo() throws {
    let place = try IDXFolder()
    try place.write([UInt8]("model: mlp\n".utf8), to: "config.yaml")
    let export = ["export", place.path, "--format", "npz", "--output", place.path + "/x"]
    for arguments in [["eval", place.path], ["inspect", place.path], export] {
      expectOneLine(try .espalier(arguments), status: 65, saying: place.path + ": has no checkpoint yet")
    }
  }

  /// On a disk without room for the configuration no folder is left; else it is there from the first moment on.
  @Test func noRunIsWithoutItsConfiguration() throws {
    let place = try IDXFolder()
    let script = "ulimit -f 0; trap '' XFSZ; exec \"$0\" train --output \"$1\" --model mlp --hidden 8 --max-steps 1"
    let program = try RunProgram.tool(
      ["bash", "-c", "(\(script)) 2> >(cat >&2)", KilledRun.path(), place.path + "/runs"])
    #expect(program.status == 74, "\(program.error)")
    #expect(program.errorLines.last?.contains("\(place.path)/runs/mlp-") == true, "\(program.error)")
    #expect(program.errorLines.last?.contains("/config.yaml: cannot be written") == true, "\(program.error)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.path + "/runs").isEmpty)
  }
}
