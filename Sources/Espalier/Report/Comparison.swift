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
      "method,sparsity,accuracy_mean,accuracy_sd,seeds,accuracies,train_seconds,step_ms_median,peak_rss_bytes,train_flops_ratio,nnz,exploration_rate,diverged_seeds,synthetic"
    func text(_ value: (some CustomStringConvertible)?) -> String { value?.description ?? "" }
    func list(_ values: [some CustomStringConvertible]) -> String {
      values.map(\.description).joined(separator: ";")
    }
    let lines = rows.map { row in
      [
        row.method, text(row.sparsity), text(row.accuracyMean), text(row.accuracySd), list(row.seeds),
        list(row.accuracies), text(row.trainSeconds), text(row.stepMsMedian), text(row.peakRssBytes),
        text(row.trainFlopsRatio), text(row.nnz), text(row.explorationRate), list(row.divergedSeeds),
        "\(isSynthetic)",
      ].joined(separator: ",")
    }
    return ([heading] + lines).joined(separator: "\n") + "\n"
  }

  /// For people, in columns.
  public var table: String {
    let cells = [Self.heads] + rows.map(Self.columns)
    let widths = Self.heads.indices.map { i in cells.map { $0[i].count }.max() ?? 0 }
    let lines = cells.map { line in
      zip(line, widths).enumerated().map { i, cell in
        let space = String(repeating: " ", count: cell.1 - cell.0.count)
        return i == 0 ? cell.0 + space : space + cell.0
      }.joined(separator: "  ")
    }
    return (lines + (isSynthetic ? ["on synthetic data"] : [])).joined(separator: "\n")
  }

  static let heads = [
    "method", "sparsity", "accuracy", "seeds", "seconds", "ms a step", "MiB", "FLOPs of dense", "connections",
    "explored",
  ]

  static func columns(_ row: Row) -> [String] {
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
}
