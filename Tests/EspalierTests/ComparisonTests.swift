import EspalierCore
import Foundation
import Testing

import Espalier

@Suite struct ComparisonTests {
  private func cell(_ accuracy: Double, seed: Int, explored: Double? = 0.5) throws -> Comparison.Cell {
    let json: [String: Any?] = [
      "testAccuracy": accuracy, "trainSeconds": 10 * accuracy, "stepMsMedian": 2, "peakRssBytes": 1000 + seed,
      "nnz": 7, "trainFlopsPerSample": 30, "denseTrainFlopsPerSample": 120, "explorationRate": explored, "seed": seed,
    ]
    let data = try JSONSerialization.data(withJSONObject: json.compactMapValues { $0 })
    return try JSONDecoder().decode(Comparison.Cell.self, from: data)
  }

  @Test func aRowIsMeansAndSampleDeviation() throws {
    let cells = [try cell(0.5, seed: 1), try cell(0.8, seed: 2), try cell(0.8, seed: 3, explored: nil)]
    let row = try #require(Comparison.Row(method: "gse", sparsity: 0.9, cells: cells, diverged: [4]))
    #expect(abs(row.accuracyMean - 0.7) < 1e-15)
    // Squares 0.04 + 0.01 + 0.01 over n - 1 = 2.
    #expect(abs(try #require(row.accuracySd) - 0.03.squareRoot()) < 1e-15)
    #expect(row.seeds == [1, 2, 3] && row.divergedSeeds == [4] && row.peakRssBytes == 1003)
    #expect(abs(row.trainSeconds - 7) < 1e-14 && row.trainFlopsRatio == 0.25 && row.explorationRate == nil)
    #expect(Comparison.Row(method: "gse", sparsity: 0.9, cells: []) == nil)
  }

  @Test func everyFormHasEveryRow() throws {
    let rows = try [("gse", 0.9), ("set", 0.9), ("gse", 0.98)].map { method, sparsity in
      try #require(
        Comparison.Row(method: method, sparsity: sparsity, cells: [cell(0.5, seed: 1), cell(0.75, seed: 2)]))
    }
    let comparison = Comparison(title: "mlp & more", rows: rows, isSynthetic: true)
    let lines = comparison.csv.split(separator: "\n")
    #expect(lines.count == 4 && Set(lines.map { $0.split(separator: ",").count }) == [12])
    #expect(lines[1].hasPrefix("gse,0.9,0.625,0.1767766") && lines[1].contains(",1;2,0.5;0.75,"))
    #expect(comparison.table.split(separator: "\n").count == 4)
    #expect(Set(comparison.table.split(separator: "\n").map(\.count)).count == 1, "columns are aligned")
    let page = try ReportTests.Reader(comparison.html)
    // Three charts of two methods.
    #expect(page.polylines.count == 6)
    #expect(comparison.html.contains("synthetic") && comparison.html.contains("mlp &amp; more"))
  }
}
