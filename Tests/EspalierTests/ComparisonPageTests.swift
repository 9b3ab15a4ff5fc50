import EspalierCore
import Foundation
import Testing

import Espalier

/// The page of a comparison: what is drawn where.
@Suite struct ComparisonPageTests {
  typealias Element = ReportTests.Reader.Element

  private func row(_ method: String, _ sparsity: Double, _ accuracies: [Double], seconds: Double = 10) throws
    -> Comparison.Row
  {
    let cells = try accuracies.enumerated().map { seed, accuracy in
      let json: [String: Any] = [
        "testAccuracy": accuracy, "trainSeconds": seconds, "stepMsMedian": 2, "peakRssBytes": 1000, "nnz": 7,
        "trainFlopsPerSample": 30, "denseTrainFlopsPerSample": 120, "seed": seed,
      ]
      return try JSONDecoder().decode(Comparison.Cell.self, from: JSONSerialization.data(withJSONObject: json))
    }
    let diverged: [UInt64] = accuracies.isEmpty ? [1] : []
    return try #require(Comparison.Row(method: method, sparsity: sparsity, cells: cells, diverged: diverged))
  }

  /// The elements of the page's figures, by caption.
  private func figures(_ rows: [Comparison.Row]) throws -> [String: [Element]] {
    let page = try ReportTests.Reader(Comparison(title: "t", rows: rows).html)
    var figures: [String: [Element]] = [:]
    var caption = ""
    for element in page.all {
      if element.name == "figcaption" { caption = element.text }
      if element.name == "h2" { caption = "" }
      if !caption.isEmpty { figures[caption, default: []].append(element) }
    }
    return figures
  }

  private func xs(_ points: String?) -> [Double] {
    (points ?? "").split(separator: " ").compactMap { Double($0.prefix { $0 != "," }) }
  }

  @Test func linesGoBySparsityNotByCost() throws {
    // The middle sparsity takes the longest.
    let rows = try [(0.98, 20.0), (0.8, 40), (0.9, 90)].map { try row("gse", $0, [1 - $0, 1.1 - $0], seconds: $1) }
    let figures = try figures(rows)
    let line = try #require(figures["Accuracy against training time"]?.first { $0.name == "polyline" })
    let places = xs(line.attributes["points"])
    #expect(places.count == 3 && places[1] > places[0] && places[0] > places[2], "40, 90, 20 s: \(places)")
    let sparsity = try #require(figures["Accuracy against sparsity"]?.first { $0.name == "polyline" })
    let steps = xs(sparsity.attributes["points"])
    #expect(steps == steps.sorted() && steps.count == 3)
    // Equal ratios of the density are equally far apart: 0.2, 0.1, 0.02.
    #expect(abs((steps[2] - steps[1]) / (steps[1] - steps[0]) - log(5) / log(2)) < 0.01)
  }

  @Test func denseIsALevel() throws {
    let rows = try [row("gse", 0.8, [0.5, 0.6]), row("gse", 0.9, [0.4, 0.5]), row("dense", 0, [0.7, 0.8])]
    let figures = try figures(rows)
    let level = try #require(figures["Accuracy against sparsity"]?.first { $0["class"]?.contains("level") == true })
    #expect(level["y1"] == level["y2"] && level["x1"] != level["x2"])
    let upright = try #require(figures["Accuracy at sparsity 0.9"]?.first { $0["class"]?.contains("level") == true })
    #expect(upright["x1"] == upright["x2"] && upright["y1"] != upright["y2"])
    #expect(figures["Accuracy at sparsity 0.0"] == nil)
    let time = try #require(figures["Accuracy against training time"])
    #expect(
      time.contains { $0.name == "text" && $0.text == "dense" }
        && !time.contains { $0["class"]?.contains("level") == true })
    let operations = try #require(figures["Accuracy against training operations"])
    #expect(operations.contains { $0["class"]?.contains("level") == true })
    #expect(operations.filter { $0["class"]?.hasPrefix("mark") == true }.count == 2, "not at its own operations")
    let ticks = figures["Accuracy against sparsity"]?.filter { $0["text-anchor"] == "middle" }.map(\.text)
    #expect(ticks == ["0.8", "0.9", "sparsity"], "dense's zero is no place on the axis")
  }

  @Test func dotsAreOrderedByAccuracy() throws {
    let rows = try [
      row("b", 0.9, [0.5, 0.52]), row("lost", 0.9, []), row("a", 0.9, [0.6, 0.7]), row("c", 0.9, [0.4]),
    ]
    let figure = try #require(try figures(rows)["Accuracy at sparsity 0.9"])
    let names = figure.filter { $0["class"] == "name" }
    #expect(names.map(\.text) == ["a", "b", "c", "lost"])
    let heights = names.compactMap { $0["y"].flatMap(Double.init) }
    #expect(heights == heights.sorted() && Set(heights).count == 4)
    #expect(figure.contains { $0.text == "diverged" } && figure.contains { $0.text == "0.6500 ± 0.0707" })
    #expect(figure.filter { $0["class"]?.hasPrefix("seed") == true }.count == 5)
    #expect(figure.filter { $0["class"]?.hasPrefix("whisker") == true }.count == 3)
    #expect(try self.figures(rows)["Accuracy against sparsity"] == nil, "one sparsity is no axis")
  }

  /// What 20 methods need to be told apart.
  @Test func manyMethodsAreToldApart() throws {
    let names = (0..<20).map { "method\($0):gamma=0.\($0)" }
    let rows = try names.enumerated().flatMap { i, name in
      try [0.8, 0.9, 0.98].map {
        try row(name, $0, [0.9 - 0.2 * $0 + 0.0003 * Double(i)], seconds: 10 + 0.1 * Double(i))
      }
    }
    let figures = try figures(rows)
    #expect(figures.count == 6)
    for (caption, figure) in figures {
      let texts = figure.filter { $0["class"] == "name" }
      #expect(Set(texts.map(\.text)) == Set(names), "\(caption)")
      let places = texts.compactMap { text in
        text["x"].flatMap(Double.init).flatMap { x in text["y"].flatMap(Double.init).map { (x, $0, text) } }
      }
      for (i, a) in places.enumerated() {
        for b in places[..<i] {
          let isApart = abs(a.1 - b.1) >= 11.9 || a.0 > b.0 + 80 || b.0 > a.0 + 80
          #expect(isApart, "\(caption): \(a.2.text) lies on \(b.2.text)")
        }
      }
      // A mark's class is its colour, the path after its place its shape.
      let marks = figure.filter { $0["class"]?.hasPrefix("mark") == true }
      let shapes = marks.compactMap { mark in
        mark["class"].map { $0 + (mark["d"] ?? "").drop { !$0.isLowercase } }
      }
      #expect(Set(shapes).count == 20, "\(caption)")
    }
  }

  @Test func whatLiesFarBelowIsOnTheEdge() throws {
    let rows = try (0..<6).map { try row("m\($0)", 0.9, [0.85 + 0.002 * Double($0)]) } + [row("lost", 0.9, [0.1])]
    let figures = try figures(rows)
    let dots = try #require(figures["Accuracy at sparsity 0.9"])
    #expect(dots.contains { $0.text == "◂" } && dots.contains { $0.text == "0.1000" })
    #expect(try #require(figures["Accuracy against training time"]).contains { $0.text == "lost ↓" })
    let ticks = dots.filter { $0["text-anchor"] == "middle" }.compactMap { Double($0.text) }
    #expect((ticks.min() ?? 0) > 0.8, "\(ticks)")
    #expect(Axis.fence([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) == nil)
  }

  @Test func theBestOfASparsityIsBold() throws {
    let rows = try [
      row("a", 0.9, [0.5]), row("b", 0.9, [0.6]), row("a", 0.98, [0.4]), row("b", 0.98, [0.3]), row("dense", 0, [0.7]),
    ]
    let html = Comparison(title: "", rows: rows).html
    #expect(html.contains("<tr class=\"best\"><td>b</td><td>0.9</td>"))
    #expect(html.contains("<tr class=\"best\"><td>a</td><td>0.98</td>"))
    #expect(html.components(separatedBy: "<tr class=\"best\">").count == 3)
  }

  @Test func axesHaveAMarginOfTwoPercent() throws {
    let wide = try #require(Axis([0, 100], length: 104))
    #expect(abs(wide.place(0) - 2) < 1e-9 && abs(wide.place(100) - 102) < 1e-9)
    #expect(wide.ticks.map(\.label) == ["0", "20", "40", "60", "80", "100"])
    let single = try #require(Axis([0.98], length: 100))
    #expect(abs(single.place(0.98) - 50) < 1e-9)
    #expect(single.ticks.allSatisfy { abs((Double($0.label) ?? 0) / 0.98 - 1) <= 0.0201 } && !single.ticks.isEmpty)
    #expect(Axis([.nan, .infinity], length: 1) == nil)
    let ratios = try #require(Axis([1, 10, 100], scale: .logarithmic, length: 104))
    #expect(abs(ratios.place(10) - 52) < 1e-9 && ratios.ticks.map(\.label) == ["1", "2", "5", "10", "20", "50", "100"])
    let sparsities = try #require(Axis([0, 0.9, 0.99], scale: .sparsity, length: 104))
    #expect(abs(sparsities.place(0.9) - 52) < 1e-9 && sparsities.ticks.map(\.label) == ["0", "0.9", "0.99"])
  }

  @Test func namesMoveAsLittleAsTheyMust() {
    func spread(_ wanted: [Double], _ range: ClosedRange<Double> = 0...1000) -> [Double] {
      NamePlacement.spread(wanted, gap: 14, in: range)
    }
    #expect(spread([10, 100, 300]) == [10, 100, 300])
    #expect(spread([50, 100, 100]) == [50, 93, 107])
    #expect(spread([100, 100, 100, 110]) == [81.5, 95.5, 109.5, 123.5])
    #expect(spread([0, 0]) == [0, 14] && spread([1000, 1000]) == [986, 1000])
    #expect(spread([5, 5, 5], 0...20) == [0, 14, 28], "where the range is too small they go beyond it")
    #expect(spread([]).isEmpty)
  }
}
