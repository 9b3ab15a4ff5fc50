import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Top-KAST, extra batches, audits and small worlds from the command line.
  @Suite struct Exploration {
    private static let tiny =
      ["--model", "mlp", "--hidden", "32,16", "--max-steps", "24", "--batch-size", "32", "--threads", "1"]
      + ["--update-every", "4", "--sparsity", "0.9"]
    private static let budget = ((784 * 32 + 32 * 16 + 16 * 10) + 5) / 10

    private func layers(_ run: TrainedRun) throws -> [[[String: Any]]] {
      try run.lines("topology.jsonl").map { try #require($0["layers"] as? [[String: Any]]) }
    }

    /// Half-way checkpoints and exports hold what is used, exactly the budget; a resumed run ends the same.
    @Test func topKASTKeepsItsBudget() throws {
      let output = try IDXFolder()
      let run = try TrainedRun(
        Self.tiny + ["--method", "topkast", "--checkpoint-every", "10", "--keep", "9"], output: output.path)
      #expect(run.result["nnz"] as? Int == Self.budget && run.result["updates"] as? Int == 4)
      let lines = try layers(run)
      #expect(try run.lines("topology.jsonl").map { $0["nnz"] as? Int } == [Int](repeating: Self.budget, count: 4))
      #expect(lines[0].allSatisfy { ($0["backward"] as? Int ?? 0) > 0 && $0["remembered"] != nil })
      #expect(lines[3].allSatisfy { $0["backward"] == nil })
      let half = run.folder + "/checkpoints/step-00000010"
      let export = try RunProgram.espalier(
        ["export", half, "--format", "npz", "--output", output.path + "/npz", "--json"])
      #expect(try export.json()["nnz"] as? Int == Self.budget)

      // A run that ends while it explores: the same result, then the rest of it.
      let stopped = try TrainedRun(
        Self.tiny + ["--method", "topkast", "--epochs", "1", "--max-steps", "9"], output: output.path)
      #expect(stopped.result["nnz"] as? Int == Self.budget)
      let verified = try RunProgram.espalier(["resume", run.folder, "--verify", "--json"])
      #expect(try verified.json()["equal"] as? Bool == true, "\(verified.error)")
    }

    @Test func auditsAreInTheLog() throws {
      let output = try IDXFolder()
      let plain = try TrainedRun(Self.tiny + ["--guide", "graest"], output: output.path)
      let run = try TrainedRun(Self.tiny + ["--guide", "graest", "--audit", "5"], output: output.path)
      #expect(run.hash == plain.hash)
      for layer in try layers(run).flatMap({ $0 }) {
        #expect(layer["audited_rows"] as? Int == 5)
        #expect((0...1).contains(layer["recall"] as? Double ?? -1))
        #expect((-1...1).contains(layer["rank_correlation"] as? Double ?? -2))
      }
      #expect(try layers(plain).flatMap { $0 }.allSatisfy { $0["recall"] == nil })
      let report = String(decoding: try run.file("report.html"), as: UTF8.self)
      #expect(report.contains("Largest gradients found") && report.contains("Rank correlation"))
      #expect(!String(decoding: try plain.file("report.html"), as: UTF8.self).contains("Largest gradients found"))
    }

    @Test(arguments: [
      ["--extra-batches", "2"], ["--distribution", "small-world"], ["--powerprop", "2"], ["--deephoyer", "0.001"],
      ["--distribution", "small-world", "--rewire", "1", "--method", "rigl"],
    ])
    func budgetsAreExact(flags: [String]) throws {
      let output = try IDXFolder()
      let plain = try TrainedRun(Self.tiny, output: output.path)
      let run = try TrainedRun(Self.tiny + flags, output: output.path)
      #expect(run.result["nnz"] as? Int == Self.budget && run.hash != plain.hash)
      #expect(try run.lines("topology.jsonl").allSatisfy { $0["nnz"] as? Int == Self.budget })
    }
  }
}
