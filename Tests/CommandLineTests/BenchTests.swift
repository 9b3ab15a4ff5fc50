import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `bench` with one repetition of everything: what it says, not how fast it is.
  @Suite struct Bench {
    @Test func aQuickRunKeepsTheContract() throws {
      let program = try RunProgram.espalier(["bench", "--quick", "--json", "--budget", "0", "--threads", "1,2"])
      try #require(program.status == 0, "\(program.error)")
      let result = try program.json()
      #expect((result["cpu"] as? String)?.isEmpty == false)
      let isa = try #require(result["isa"] as? String)
      #expect(result["sgemm_gflops"] as? Double ?? 0 > 0)
      let rows = try #require(result["rows"] as? [[String: Any]])
      let backward = try #require(result["backward"] as? [[String: Any]])
      #expect(Set(backward.compactMap { $0["kernel"] as? String }) == ["backward", "conv-backward"])
      for row in rows + backward {
        for name in ["inputs", "outputs", "height", "width", "batch", "threads", "nnz"] {
          #expect(row[name] as? Int ?? 0 > 0, "\(name)")
        }
        for name in ["gflops", "dense_ms", "ms", "speedup"] { #expect(row[name] as? Double ?? 0 > 0, "\(name)") }
        #expect((0..<1).contains(row["sparsity"] as? Double ?? -1))
        #expect(row["variant"] as? String == isa)
      }
      let kernels = ["forward", "input-gradient", "weight-gradient"]
      #expect(Set(rows.compactMap { $0["kernel"] as? String }) == Set(kernels + kernels.map { "conv-\($0)" }))
      #expect(Set(rows.compactMap { $0["threads"] as? Int }) == [1, 2])
      let crossovers = try #require(result["crossovers"] as? [[String: Any]])
      #expect(crossovers.compactMap { $0["units"] as? Int } == [1024, 2048, 1024, 2048])
      for crossover in crossovers {
        #expect((0.5...0.99).contains(crossover["sparsity"] as? Double ?? 0))
        #expect(["between", "below", "above"].contains(crossover["place"] as? String))
      }
      #expect((result["wide"] as? [Any])?.isEmpty == true, "not in a quick run")
    }

    @Test func oneKernelAsATable() throws {
      let program = try RunProgram.espalier(
        ["bench", "--quick", "--budget", "0", "--kernel", "conv-weight-gradient"],
        environment: ["ESPALIER_ISA": "scalar"])
      try #require(program.status == 0, "\(program.error)")
      #expect(program.text.contains("sgemm 2048 x 2048 x 128, threads 1: "))
      #expect(program.text.contains("scalar"))
      let headings = program.text.split(separator: "\n").filter { $0.contains("GFLOP/s /sgemm") }
      #expect(headings.count == 1 && headings[0].hasPrefix("conv-weight-gradient "))
      #expect(program.text.contains("\nvgg16-small.features.3 "))
      #expect(!program.text.contains("crossover"))
      #expect(!program.error.contains("\r"))
    }
  }
}
