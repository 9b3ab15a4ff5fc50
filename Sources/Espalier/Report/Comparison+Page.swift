import Foundation

extension Comparison {
  /// A page that stands alone: accuracy by sparsity, against time and operations, and the table.
  public var html: String {
    let warning =
      isSynthetic ? "<p class=\"warning\">On made-up (synthetic) data, whose accuracy means nothing.</p>\n" : ""
    let failed = failures.map { "<li>\($0.run.escaped): \($0.error.escaped) (\($0.log.escaped))</li>" }.joined()
    let missing =
      failures.isEmpty ? "" : "<div class=\"warning\">Runs that failed, and are in no row:<ul>\(failed)</ul></div>\n"
    return Page.html(title: title, body: warning + missing + plots + results)
  }

  private var results: String {
    let head = Self.heads.map { "<th>\($0)</th>" }.joined()
    let best = Dictionary(
      rows.compactMap { row in row.accuracyMean.map { (row.sparsity, $0) } }, uniquingKeysWith: { max($0, $1) })
    let body = rows.map { row in
      let isBest = !row.isDense && row.accuracyMean != nil && row.accuracyMean == best[row.sparsity]
      let cells = Self.columns(row).map { "<td>\($0.escaped)</td>" }.joined()
      return "<tr\(isBest ? " class=\"best\"" : "")>\(cells)</tr>\n"
    }
    return """
      <h2>Results</h2><p class="note">Accuracy: mean ± sample standard deviation over the seeds; seconds and operations are means, memory the largest. The best of a sparsity is bold.</p>
      <div class="wide"><table><tr>\(head)</tr>
      \(body.joined())</table></div>

      """
  }

  private var plots: String {
    let sparsities = Set(rows.filter { !$0.isDense }.map(\.sparsity)).sorted()
    let shared = (rows.filter { !$0.isDense }.map(\.method.textWidth)).max() ?? 0
    let panels = sparsities.map { dotPlot(sparsity: $0, nameWidth: shared).html }.joined()
    let sparse = rows.filter { !$0.isDense }
    let charts = [
      sparsities.count > 1 ? sparsityChart.html : "",
      costChart("Accuracy against training time", of: rows, xLabel: "seconds", unit: "s", \.trainSeconds).html,
      // Dense training would press the others together.
      costChart(
        "Accuracy against training operations", of: sparse, xLabel: "of dense training's", unit: "of dense",
        levels: levels,
        \.trainFlopsRatio
      ).html,
    ].joined()
    guard !(panels + charts).isEmpty else { return "" }
    let cut = floor.map { String(format: " Points below %.3g lie on the edge, and their names bear ↓.", $0) } ?? ""
    let order =
      sparsities.count > 1 ? " Lines join a method's sparsities in their order; its name stands at the highest." : ""
    return """
      <h2>Accuracy</h2><p class="note">Mean over the seeds, with the sample standard deviation to both sides; small dots are seeds.</p>
      <div class="panels">
      \(panels)</div>
      <p class="note">\(order)\(cut)</p>
      \(charts)
      """
  }

  /// In the order of their first rows.
  private var methods: [String] {
    rows.reduce(into: []) { names, row in if !names.contains(row.method) { names.append(row.method) } }
  }

  private func style(of method: String) -> SeriesStyle { SeriesStyle(methods.firstIndex(of: method) ?? 0) }

  /// Accuracies below it would press the others together.
  private var floor: Double? { Axis.fence(rows.compactMap(\.accuracyMean)) }

  /// Of dense training, which no sparsity changes.
  private var levels: [PointChart.Level] {
    rows.compactMap { row in
      guard row.isDense, let mean = row.accuracyMean else { return nil }
      return PointChart.Level(name: row.method, style: style(of: row.method), y: mean, spread: row.accuracySd)
    }
  }

  private func dotPlot(sparsity: Double, nameWidth: Double) -> DotPlot {
    let own = rows.filter { $0.sparsity == sparsity && !$0.isDense }.map {
      DotPlot.Row(
        name: $0.method, style: style(of: $0.method), mean: $0.accuracyMean, spread: $0.accuracySd,
        values: $0.accuracies)
    }
    return DotPlot(
      title: "Accuracy at sparsity \(sparsity)", xLabel: "test accuracy", rows: own, levels: levels,
      nameWidth: nameWidth)
  }

  private var sparsityChart: PointChart {
    PointChart(
      title: "Accuracy against sparsity", xLabel: "sparsity", scale: .sparsity,
      series: series(of: rows.filter { !$0.isDense }, unit: "") { $0.sparsity }, levels: levels, floor: floor,
      endsTogether: true)
  }

  private func costChart(
    _ title: String, of rows: [Row], xLabel: String, unit: String, levels: [PointChart.Level] = [],
    _ cost: (Row) -> Double?
  ) -> PointChart {
    let costs = rows.compactMap(cost).filter { $0 > 0 }
    let ratio = (costs.max() ?? 1) / (costs.min() ?? 1)
    return PointChart(
      title: title, xLabel: xLabel, scale: ratio >= 4 ? .logarithmic : .linear,
      series: series(of: rows, unit: " " + unit, cost), levels: levels, floor: floor, endsTogether: false)
  }

  /// A series a method, by sparsity.
  private func series(of rows: [Row], unit: String, _ x: (Row) -> Double?) -> [PointChart.Series] {
    methods.compactMap { method in
      let points = rows.filter { $0.method == method }.sorted { $0.sparsity < $1.sparsity }.compactMap { row in
        guard let x = x(row), let y = row.accuracyMean else { return PointChart.Point?.none }
        let spread = row.accuracySd.map { String(format: " ± %.4f", $0) } ?? ""
        let cost = unit.isEmpty ? "" : ", " + String(format: "%.4g", x) + unit
        return PointChart.Point(
          x: x, y: y, spread: row.accuracySd,
          words: "\(method) at \(row.sparsity): " + String(format: "%.4f", y) + spread + cost)
      }
      return points.isEmpty ? nil : PointChart.Series(name: method, style: style(of: method), points: points)
    }
  }
}

extension Comparison.Row {
  /// Whether it is of dense training, also with flags of its own.
  fileprivate var isDense: Bool { method == "dense" || method.hasPrefix("dense:") }
}
