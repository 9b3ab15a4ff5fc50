import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `plan --ranks`: what stands in the result and what is refused; times are whatever they are.
  @Suite struct RanksPlan {
    private static let small = ["--model", "mlp", "--hidden", "32", "--threads", "1", "--budget", "0"]
    private static let link = ["--bandwidth", "2", "--latency", "10"]

    private func scaling(_ arguments: [String]) throws -> [String: Any] {
      let program = try RunProgram.espalier(["plan", "--json"] + Self.small + Self.link + arguments)
      try #require(program.status == 0, "\(program.error)")
      return try #require(try program.json()["scaling"] as? [String: Any])
    }

    private func rows(_ result: [String: Any], _ key: String) throws -> [[String: Any]] {
      try #require(result[key] as? [[String: Any]])
    }

    @Test func rowsAddUp() throws {
      let result = try scaling(["--ranks", "1,2,4", "--batch-size", "64"])
      #expect(result["bandwidth_gb_s"] as? Double == 2 && result["latency_us"] as? Double == 10)
      let weights = 784 * 32 + 32 * 10
      #expect(result["dense_numbers"] as? Int == weights + 42)
      #expect(result["sparse_numbers"] as? Int == Int((0.1 * Double(weights)).rounded()) + 42)
      let measured = try #require(result["measured"] as? [String: [[String: Any]]])
      for points in measured.values { #expect(points.first?["batch"] as? Int == 8) }
      for (key, samples) in [("strong", [64, 32, 16]), ("weak", [64, 64, 64])] {
        let rows = try rows(result, key)
        #expect(rows.compactMap { $0["ranks"] as? Int } == [1, 2, 4])
        #expect(rows.compactMap { $0["samples_per_rank"] as? Int } == samples)
        for row in rows {
          func ms(_ name: String) -> Double { row[name] as? Double ?? .nan }
          for kind in ["sparse", "dense"] {
            let sum = ms("\(kind)_compute_ms") + ms("\(kind)_gradients_ms") + ms("statistics_ms")
            #expect(ms("\(kind)_compute_ms") > 0 && abs(sum - ms("\(kind)_ms")) < 1e-9)
            #expect(ms("\(kind)_speedup") > 0)
          }
        }
        #expect(rows[0]["statistics_ms"] as? Double == 0 && rows[0]["sparse_gradients_ms"] as? Double == 0)
      }
    }

    @Test(arguments: [
      ("1..16", [1, 2, 4, 8, 16]), ("3..20", [3, 6, 12]), ("8,1..4,3,2", [1, 2, 3, 4, 8]), ("5..5", [5]), ("7", [7]),
    ])
    func listsAndRanges(_ text: String, ranks: [Int]) throws {
      let found = try rows(try scaling(["--ranks", text]), "weak").compactMap { $0["ranks"] as? Int }
      #expect(found == ranks)
    }

    @Test func noRankIsWithoutASample() throws {
      let result = try scaling(["--ranks", "1..4096", "--batch-size", "16"])
      #expect(try rows(result, "strong").compactMap { $0["ranks"] as? Int } == [1, 2, 4, 8, 16])
      #expect(try rows(result, "weak").last?["batch_size"] as? Int == 65_536)
    }

    @Test func withoutRanksNothingIsAdded() throws {
      let program = try RunProgram.espalier(["plan", "--json"] + Self.small)
      #expect(try program.json()["scaling"] == nil)
    }

    @Test func theTableAndThePlot() throws {
      let place = try IDXFolder()
      let path = place.path + "/scaling.html"
      let program = try RunProgram.espalier(["plan", "--ranks", "1..256", "--plot", path] + Self.small + Self.link)
      try #require(program.status == 0, "\(program.error)")
      for text in ["strong scaling", "weak scaling", "speed-up", "cannot share", "2 GB/s and 10 µs"] {
        #expect(program.text.contains(text), "\(program.text)")
      }
      let page = try String(contentsOfFile: path, encoding: .utf8)
      #expect(page.contains("<svg") && page.contains("mlp") && !page.contains("http"))
    }

    @Test func aPlotThatCannotBeWritten() throws {
      let program = try RunProgram.espalier(
        ["plan", "--ranks", "2", "--plot", "/nowhere/at/all.html"] + Self.small + Self.link)
      expectOneLine(program, status: 74, saying: "/nowhere/at/all.html", "--plot")
    }

    @Test(arguments: [
      ("--ranks 0 --bandwidth 1 --latency 1", "ranks: 0"), ("--ranks -2 --bandwidth 1 --latency 1", "ranks: -2"),
      ("--ranks 1..70000 --bandwidth 1 --latency 1", "ranks: 70000"),
      ("--ranks 8..2 --bandwidth 1 --latency 1", "8..2"), ("--ranks 1..2..3 --bandwidth 1 --latency 1", "1..2..3"),
      ("--ranks two --bandwidth 1 --latency 1", "two"), ("--ranks 1,,2 --bandwidth 1 --latency 1", "1,,2"),
      ("--ranks 1.. --bandwidth 1 --latency 1", "1.."), ("--ranks 2 --bandwidth -1 --latency 1", "bandwidth: -1"),
      ("--ranks 2 --bandwidth 0 --latency 1", "bandwidth: 0"), ("--ranks 2 --bandwidth 1 --latency -1", "latency: -1"),
      ("--ranks 2 --bandwidth nan --latency 1", "bandwidth"), ("--ranks 2 --bandwidth fast --latency 1", "fast"),
      ("--ranks 2 --latency 1", "--bandwidth"), ("--ranks 2 --bandwidth 1", "--latency"),
      ("--bandwidth 1", "--ranks"), ("--latency 1", "--ranks"), ("--plot x.html", "--ranks"),
    ])
    func refusals(_ arguments: String, fragment: String) throws {
      let program = try RunProgram.espalier(["plan"] + arguments.split(separator: " ").map(String.init))
      expectOneLine(program, status: 64, saying: fragment)
    }
  }
}
