import Foundation

/// Results of several methods, sparsities and seeds, brought together: one row a method and sparsity.
public struct Comparison: Sendable {
  /// One run's part: what its `result.json` says.
  public struct Cell: Sendable, Decodable {
    /// Top-1 as a fraction; wall time of the steps.
    public let testAccuracy, trainSeconds: Double
    let stepMsMedian: Double
    let peakRssBytes, nnz: Int
    let trainFlopsPerSample, denseTrainFlopsPerSample: Double
    let explorationRate: Double?
    let synthetic: Bool?
    let seed: UInt64
  }

  /// A method at a sparsity, over its seeds.
  public struct Row: Sendable, Encodable {
    /// The method's name.
    public let method: String
    /// Fraction of the weights that are absent.
    public let sparsity: Double
    /// Top-1 on the test set after the last epoch, as a fraction.
    public let accuracyMean: Double
    /// Of a sample (n - 1); nil for fewer than two runs.
    public let accuracySd: Double?
    /// The seeds of the runs, in their order.
    public let seeds: [UInt64]
    /// Seeds whose runs diverged, and are in no mean.
    public let divergedSeeds: [UInt64]
    /// Top-1 of each run, as a fraction, in the order of `seeds`.
    public let accuracies: [Double]
    /// Means over the seeds.
    public let trainSeconds, stepMsMedian, trainFlopsRatio: Double
    /// The largest of the runs'.
    public let peakRssBytes: Int
    /// Active connections of the last run.
    public let nnz: Int
    /// Fraction of possible connections that were ever active; nil where unknown.
    public let explorationRate: Double?

    /// The row of some runs; nil where there is none that ended.
    public init?(method: String, sparsity: Double, cells: [Cell], diverged: [UInt64] = []) {
      guard let first = cells.first else { return nil }
      func mean(_ value: (Cell) -> Double) -> Double { cells.map(value).reduce(0, +) / Double(cells.count) }
      self.method = method
      self.sparsity = sparsity
      accuracies = cells.map(\.testAccuracy)
      let center = mean(\.testAccuracy)
      accuracyMean = center
      accuracySd =
        cells.count < 2
        ? nil : (accuracies.map { ($0 - center) * ($0 - center) }.reduce(0, +) / Double(cells.count - 1)).squareRoot()
      seeds = cells.map(\.seed)
      divergedSeeds = diverged
      trainSeconds = mean(\.trainSeconds)
      stepMsMedian = mean(\.stepMsMedian)
      trainFlopsRatio = mean { $0.trainFlopsPerSample / $0.denseTrainFlopsPerSample }
      peakRssBytes = cells.map(\.peakRssBytes).max() ?? first.peakRssBytes
      nnz = first.nnz
      let rates = cells.compactMap(\.explorationRate)
      explorationRate = rates.count == cells.count ? rates.reduce(0, +) / Double(rates.count) : nil
    }

    enum CodingKeys: String, CodingKey {
      case method, sparsity, accuracyMean, accuracySd, seeds, divergedSeeds, accuracies, trainSeconds, stepMsMedian
      case trainFlopsRatio, peakRssBytes, nnz, explorationRate
    }

    /// Values that do not exist are `null`, so that every field is there.
    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(method, forKey: .method)
      try container.encode(sparsity, forKey: .sparsity)
      try container.encode(accuracyMean, forKey: .accuracyMean)
      try container.encode(accuracySd, forKey: .accuracySd)
      try container.encode(seeds, forKey: .seeds)
      try container.encode(divergedSeeds, forKey: .divergedSeeds)
      try container.encode(accuracies, forKey: .accuracies)
      try container.encode(trainSeconds, forKey: .trainSeconds)
      try container.encode(stepMsMedian, forKey: .stepMsMedian)
      try container.encode(trainFlopsRatio, forKey: .trainFlopsRatio)
      try container.encode(peakRssBytes, forKey: .peakRssBytes)
      try container.encode(nnz, forKey: .nnz)
      try container.encode(explorationRate, forKey: .explorationRate)
    }
  }

  /// The page's heading.
  public let title: String
  /// One for each method and sparsity.
  public let rows: [Row]
  /// Whether any run was on made-up images.
  public let isSynthetic: Bool

  /// A comparison of these rows.
  public init(title: String, rows: [Row], isSynthetic: Bool = false) {
    self.title = title
    self.rows = rows
    self.isSynthetic = isSynthetic
  }

  /// Comma-separated, a heading and one line a row; accuracies of the seeds are separated by semicolons.
  public var csv: String {
    let heading =
      "method,sparsity,accuracy_mean,accuracy_sd,seeds,accuracies,train_seconds,step_ms_median,peak_rss_bytes,train_flops_ratio,nnz,exploration_rate"
    let lines = rows.map { row in
      [
        row.method, "\(row.sparsity)", "\(row.accuracyMean)", row.accuracySd.map { "\($0)" } ?? "",
        row.seeds.map(String.init).joined(separator: ";"), row.accuracies.map { "\($0)" }.joined(separator: ";"),
        "\(row.trainSeconds)", "\(row.stepMsMedian)", "\(row.peakRssBytes)", "\(row.trainFlopsRatio)", "\(row.nnz)",
        row.explorationRate.map { "\($0)" } ?? "",
      ].joined(separator: ",")
    }
    return ([heading] + lines).joined(separator: "\n") + "\n"
  }

  /// For people, in columns.
  public var table: String {
    let cells = [Self.heads] + rows.map(Self.columns)
    let widths = Self.heads.indices.map { i in cells.map { $0[i].count }.max() ?? 0 }
    return cells.map { line in
      zip(line, widths).enumerated().map { i, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return i == 0 ? cell.0 + space : space + cell.0
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  private static let heads = [
    "method", "sparsity", "accuracy", "seeds", "seconds", "ms a step", "MiB", "FLOPs of dense", "connections",
    "explored",
  ]

  private static func columns(_ row: Row) -> [String] {
    let spread = row.accuracySd.map { String(format: " ± %.4f", $0) } ?? ""
    let failed = row.divergedSeeds.isEmpty ? "" : " (\(row.divergedSeeds.count) diverged)"
    return [
      row.method, "\(row.sparsity)", String(format: "%.4f", row.accuracyMean) + spread, "\(row.seeds.count)\(failed)",
      String(format: "%.1f", row.trainSeconds), String(format: "%.2f", row.stepMsMedian),
      String(format: "%.0f", Double(row.peakRssBytes) / 1_048_576), String(format: "%.4f", row.trainFlopsRatio),
      "\(row.nnz)", row.explorationRate.map { String(format: "%.3f", $0) } ?? "–",
    ]
  }

  /// A page that stands alone: the table, and accuracy against sparsity, seconds and operations.
  public var html: String {
    let warning =
      isSynthetic ? "<p class=\"warning\">On made-up (synthetic) data, whose accuracy means nothing.</p>\n" : ""
    let head = Self.heads.map { "<th>\($0)</th>" }.joined()
    let body = rows.map { "<tr>" + Self.columns($0).map { "<td>\($0.escaped)</td>" }.joined() + "</tr>\n" }.joined()
    let charts = [
      chart("Accuracy against sparsity", "sparsity") { $0.sparsity },
      chart("Accuracy against training time", "seconds") { $0.trainSeconds },
      chart("Accuracy against training operations", "of dense training's") { $0.trainFlopsRatio },
    ]
    let legend = methods.enumerated().map { "<li class=\"c\($0 % Page.colors)\"><span>\($1.escaped)</span></li>" }
    return Page.html(
      title: title,
      body: """
        \(warning)<h2>Results</h2><p class="note">Accuracy: mean ± sample standard deviation over the seeds; seconds and operations are means, memory the largest.</p>
        <div class="wide"><table><tr>\(head)</tr>
        \(body)</table></div>
        <h2>Plots</h2><ul class="legend">\(legend.joined())</ul>
        <div class="charts">
        \(charts.joined())</div>

        """)
  }

  /// In the order of their first rows.
  private var methods: [String] {
    rows.reduce(into: []) { names, row in if !names.contains(row.method) { names.append(row.method) } }
  }

  private func chart(_ title: String, _ xLabel: String, _ x: (Row) -> Double) -> String {
    let series = methods.enumerated().map { color, method in
      let own = rows.filter { $0.method == method }.sorted { x($0) < x($1) }
      return LineChart.Series(
        name: method, color: color, points: own.map { (x($0), $0.accuracyMean) },
        spreads: own.map { $0.accuracySd ?? 0 })
    }
    return LineChart(title: title, xLabel: xLabel, series: series).html
  }
}
