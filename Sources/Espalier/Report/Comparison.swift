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

  /// A method at a sparsity, over its seeds. Where none of its runs ended, as all diverged, everything measured is nil.
  public struct Row: Sendable, Encodable {
    /// The method's name.
    public let method: String
    /// Fraction of the weights that are absent.
    public let sparsity: Double
    /// Top-1 on the test set after the last epoch, as a fraction.
    public let accuracyMean: Double?
    /// Of a sample (n - 1); nil for fewer than two runs.
    public let accuracySd: Double?
    /// The seeds of the runs, in their order.
    public let seeds: [UInt64]
    /// Seeds whose runs diverged, and are in no mean.
    public let divergedSeeds: [UInt64]
    /// Top-1 of each run, as a fraction, in the order of `seeds`.
    public let accuracies: [Double]
    /// Means over the seeds.
    public let trainSeconds, stepMsMedian, trainFlopsRatio: Double?
    /// The largest of the runs'.
    public let peakRssBytes: Int?
    /// Active connections of the first run; the others' budget is the same.
    public let nnz: Int?
    /// Fraction of possible connections that were ever active; nil where unknown.
    public let explorationRate: Double?

    /// The row of some runs; nil where there is none that ended or diverged.
    public init?(method: String, sparsity: Double, cells: [Cell], diverged: [UInt64] = []) {
      guard !cells.isEmpty || !diverged.isEmpty else { return nil }
      func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
      }
      self.method = method
      self.sparsity = sparsity
      accuracies = cells.map(\.testAccuracy)
      let center = mean(accuracies)
      accuracyMean = center
      accuracySd = center.flatMap { [accuracies] center in
        let squares = accuracies.map { ($0 - center) * ($0 - center) }
        return squares.count < 2 ? nil : (squares.reduce(0, +) / Double(squares.count - 1)).squareRoot()
      }
      seeds = cells.map(\.seed)
      divergedSeeds = diverged
      trainSeconds = mean(cells.map(\.trainSeconds))
      stepMsMedian = mean(cells.map(\.stepMsMedian))
      trainFlopsRatio = mean(cells.map { $0.trainFlopsPerSample / $0.denseTrainFlopsPerSample })
      peakRssBytes = cells.map(\.peakRssBytes).max()
      nnz = cells.first?.nnz
      let rates = cells.compactMap(\.explorationRate)
      explorationRate = rates.count == cells.count ? mean(rates) : nil
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

  /// A run that failed, and is in no row.
  public struct Failure: Sendable, Encodable {
    /// Its method, sparsity and seed.
    public let run: String
    /// Why, in one line.
    public let error: String
    /// The file that holds what its process said.
    public let log: String

    /// A run and why it failed.
    public init(run: String, error: String, log: String) { (self.run, self.error, self.log) = (run, error, log) }
  }

  /// The page's heading.
  public let title: String
  /// One for each method and sparsity.
  public let rows: [Row]
  /// Runs that no row has, for another reason than that they diverged.
  public let failures: [Failure]
  /// Whether any run was on made-up images.
  public let isSynthetic: Bool

  /// A comparison of these rows.
  public init(title: String, rows: [Row], failures: [Failure] = [], isSynthetic: Bool = false) {
    self.title = title
    self.rows = rows
    self.failures = failures
    self.isSynthetic = isSynthetic
  }

  /// Comma-separated, a heading and one line a row; seeds and their accuracies are separated by semicolons. What does not exist is empty.
  public var csv: String {
    let heading =
      "method,sparsity,accuracy_mean,accuracy_sd,seeds,accuracies,train_seconds,step_ms_median,peak_rss_bytes,train_flops_ratio,nnz,exploration_rate,diverged_seeds"
    func text(_ value: (some CustomStringConvertible)?) -> String { value?.description ?? "" }
    func list(_ values: [some CustomStringConvertible]) -> String {
      values.map(\.description).joined(separator: ";")
    }
    let lines = rows.map { row in
      [
        row.method, text(row.sparsity), text(row.accuracyMean), text(row.accuracySd), list(row.seeds),
        list(row.accuracies), text(row.trainSeconds), text(row.stepMsMedian), text(row.peakRssBytes),
        text(row.trainFlopsRatio), text(row.nnz), text(row.explorationRate), list(row.divergedSeeds),
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
    func text(_ format: String, _ value: Double?) -> String { value.map { String(format: format, $0) } ?? "–" }
    let spread = row.accuracySd.map { String(format: " ± %.4f", $0) } ?? ""
    let failed = row.divergedSeeds.isEmpty ? "" : " (\(row.divergedSeeds.count) diverged)"
    return [
      row.method, "\(row.sparsity)", text("%.4f", row.accuracyMean) + spread, "\(row.seeds.count)\(failed)",
      text("%.1f", row.trainSeconds), text("%.2f", row.stepMsMedian),
      text("%.0f", row.peakRssBytes.map { Double($0) / 1_048_576 }), text("%.4f", row.trainFlopsRatio),
      row.nnz.map(String.init) ?? "–", text("%.3f", row.explorationRate),
    ]
  }

  /// A page that stands alone: the table, and accuracy against sparsity, seconds and operations.
  public var html: String {
    let warning =
      isSynthetic ? "<p class=\"warning\">On made-up (synthetic) data, whose accuracy means nothing.</p>\n" : ""
    let failed = failures.map { "<li>\($0.run.escaped): \($0.error.escaped) (\($0.log.escaped))</li>" }.joined()
    let missing =
      failures.isEmpty ? "" : "<div class=\"warning\">Runs that failed, and are in no row:<ul>\(failed)</ul></div>\n"
    let head = Self.heads.map { "<th>\($0)</th>" }.joined()
    let body = rows.map { "<tr>" + Self.columns($0).map { "<td>\($0.escaped)</td>" }.joined() + "</tr>\n" }.joined()
    let charts = [
      chart("Accuracy against sparsity", "sparsity") { $0.sparsity },
      chart("Accuracy against training time", "seconds") { $0.trainSeconds ?? .nan },
      chart("Accuracy against training operations", "of dense training's") { $0.trainFlopsRatio ?? .nan },
    ]
    let legend = methods.enumerated().map { "<li class=\"c\($0 % Page.colors)\"><span>\($1.escaped)</span></li>" }
    return Page.html(
      title: title,
      body: """
        \(warning)\(missing)<h2>Results</h2><p class="note">Accuracy: mean ± sample standard deviation over the seeds; seconds and operations are means, memory the largest.</p>
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
        name: method, color: color, points: own.map { (x($0), $0.accuracyMean ?? .nan) },
        spreads: own.map { $0.accuracySd ?? 0 })
    }
    return LineChart(title: title, xLabel: xLabel, series: series).html
  }
}
