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
    #expect(abs(try #require(row.accuracyMean) - 0.7) < 1e-15)
    // Squares 0.04 + 0.01 + 0.01 over n - 1 = 2.
    #expect(abs(try #require(row.accuracySd) - 0.03.squareRoot()) < 1e-15)
    #expect(row.seeds == [1, 2, 3] && row.divergedSeeds == [4] && row.peakRssBytes == 1003)
    #expect(abs(try #require(row.trainSeconds) - 7) < 1e-14)
    #expect(row.trainFlopsRatio == 0.25 && row.nnz == 7 && row.explorationRate == nil)
    #expect(Comparison.Row(method: "gse", sparsity: 0.9, cells: []) == nil)
  }

  @Test func aRowWhoseRunsAllDivergedHasNoAccuracy() throws {
    let whole = try #require(Comparison.Row(method: "set", sparsity: 0.9, cells: [cell(0.5, seed: 1)], diverged: [2]))
    let row = try #require(Comparison.Row(method: "gse", sparsity: 0.9, cells: [], diverged: [4, 5]))
    let comparison = Comparison(title: "", rows: [row, whole])
    let lines = comparison.csv.split(separator: "\n")
    #expect(lines[0].hasSuffix(",nnz,exploration_rate,diverged_seeds,synthetic"))
    #expect(lines[1] == "gse,0.9,,,,,,,,,,,4;5,false")
    #expect(lines[2].hasPrefix("set,0.9,0.5,,1,0.5,") && lines[2].hasSuffix(",7,0.5,2,false"))
    let table = comparison.table.split(separator: "\n")
    #expect(table[1].hasPrefix("gse") && table[1].contains("0 (2 diverged)") && table[1].contains("–"))
    let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(row)) as? [String: Any]
    for field in ["accuracyMean", "accuracySd", "trainSeconds", "peakRssBytes", "trainFlopsRatio", "nnz"] {
      #expect(object?[field] is NSNull, "\(field)")
    }
    #expect(object?["divergedSeeds"] as? [Int] == [4, 5])
    let page = try ReportTests.Reader(comparison.html)
    #expect(page.elements.contains("table") && comparison.html.contains("<td>gse</td>"))
    #expect(!comparison.html.contains("nan"))
  }

  @Test func thePageNamesRunsThatFailed() throws {
    let failure = Comparison.Failure(run: "gse 0.9 seed 3", error: "a & b", log: "/x/log.txt")
    let row = try #require(Comparison.Row(method: "gse", sparsity: 0.9, cells: [cell(0.5, seed: 1)]))
    let html = Comparison(title: "", rows: [row], failures: [failure]).html
    #expect(html.contains("gse 0.9 seed 3: a &amp; b (/x/log.txt)"))
    #expect(try ReportTests.Reader(html).elements.contains("li"))
    #expect(!Comparison(title: "", rows: [row]).html.contains("failed"))
  }

  @Test func everyFormHasEveryRow() throws {
    let rows = try [("gse", 0.9), ("set", 0.9), ("gse", 0.98)].map { method, sparsity in
      try #require(
        Comparison.Row(method: method, sparsity: sparsity, cells: [cell(0.5, seed: 1), cell(0.75, seed: 2)]))
    }
    let comparison = Comparison(title: "mlp & more", rows: rows, isSynthetic: true)
    let lines = comparison.csv.split(separator: "\n")
    #expect(
      lines.count == 4 && Set(lines.map { $0.split(separator: ",", omittingEmptySubsequences: false).count }) == [14])
    #expect(lines[1].hasPrefix("gse,0.9,0.625,0.1767766") && lines[1].contains(",1;2,0.5;0.75,"))
    let table = comparison.table.split(separator: "\n")
    #expect(table.count == 5 && table[4] == "on synthetic data")
    #expect(Set(table.prefix(4).map(\.count)).count == 1, "columns are aligned")
    let page = try ReportTests.Reader(comparison.html)
    // Three charts, in which the method with two sparsities has a line.
    #expect(page.polylines.count == 3)
    #expect(comparison.html.contains("synthetic") && comparison.html.contains("mlp &amp; more"))
  }
}
