import EspalierCore
import Foundation

/// One HTML file that shows one or several runs side by side: curves, topology, structure, time and memory, settings.
///
/// The file stands alone: inline SVG, no script, no request to any network.
public struct Report {
  private let runs: [RunRecord]

  /// - Precondition: at least one run.
  public init(runs: [RunRecord]) {
    precondition(!runs.isEmpty)
    self.runs = runs
  }

  /// The page.
  public var html: String {
    let title = runs.count == 1 ? runs[0].name : "\(runs.count) runs of Espalier"
    return Page.html(
      title: title,
      body: warning + Page.legend(runs.map(\.name)) + summary + curves + phases + topology + structure + settings)
  }

  /// Readers must not take made-up images for a result.
  private var warning: String {
    let synthetic = runs.filter { $0.result?.synthetic == true || $0.configuration.contains("dataset: synthetic\n") }
    guard !synthetic.isEmpty else { return "" }
    let names = synthetic.map(\.name.escaped).joined(separator: ", ")
    return "<p class=\"warning\">On made-up (synthetic) data, whose accuracy means nothing: \(names)</p>\n"
  }

  private var summary: String {
    func row(_ name: String, _ value: (RunRecord.Result) -> String?) -> String {
      let cells = runs.map { "<td>\($0.result.flatMap(value) ?? "–")</td>" }
      return "<tr><td>\(name)</td>\(cells.joined())</tr>\n"
    }
    func mebibytes(_ bytes: Int) -> String { String(format: "%.2f MiB", Double(bytes) / 1_048_576) }
    let heads = runs.enumerated().map {
      "<th class=\"c\($0 % Page.colors)\">\(runs.count > 1 ? $1.name.escaped : "")</th>"
    }
    let unfinished = runs.filter { $0.result == nil }.map { run in
      let name = runs.count > 1 ? run.name + ": " : ""
      return "<p class=\"note\">– : \((name + (run.stop ?? "the run has not ended")).escaped)</p>\n"
    }.joined()
    let best = row("best epoch by validation") {
      $0.best.map { "\($0.epoch) (accuracy \(String(format: "%.4f", $0.validationAccuracy)))" }
    }
    return """
      <h2>Result</h2><div class="wide"><table><tr><th></th>\(heads.joined())</tr>
      \(row("test accuracy") { String(format: "%.4f", $0.testAccuracy) })\
      \(row("test loss") { String(format: "%.4f", $0.testLoss) })\
      \(runs.contains { $0.result?.best != nil } ? best : "")\
      \(row("connections") { "\($0.nnz) of \($0.sparsifiableWeights)" })\
      \(row("sparsity") { String(format: "%.3f %%", 100 * (1 - Double($0.nnz) / Double($0.sparsifiableWeights))) })\
      \(row("training") { String(format: "%.1f s", $0.trainSeconds) })\
      \(row("a step (median)") { String(format: "%.2f ms", $0.stepMsMedian) })\
      \(row("images a second") { String(format: "%.0f", $0.imagesPerSecond) })\
      \(row("operations, of dense training's") { String(format: "%.4f", $0.trainFlopsPerSample / $0.denseTrainFlopsPerSample) })\
      \(row("resident memory, at most") { mebibytes($0.peakRssBytes) })\
      \(row("weights, gradients, optimizer state, at most") { mebibytes($0.peakWeightStateBytes ?? $0.weightStateBytes) })\
      \(row("largest weight-side buffer") { mebibytes($0.largestWeightBufferBytes) })\
      \(row("exploration rate") { $0.explorationRate.map { String(format: "%.4f", $0) } })\
      </table></div>
      \(unfinished)
      """
  }

  private func series(_ points: (RunRecord) -> [(x: Double, y: Double)]) -> [LineChart.Series] {
    runs.enumerated().map { LineChart.Series(name: $1.name, color: $0, points: points($1)) }
  }

  private var curves: String {
    let losses = series { $0.steps.map { ($0.epoch, $0.trainLoss) } }
    let faint = losses.map { LineChart.Series(name: $0.name, color: $0.color, points: $0.points, isFaint: true) }
    let smooth = losses.map {
      LineChart.Series(name: $0.name, color: $0.color, points: Self.runningMean($0.points))
    }
    let testLosses = series { $0.epochs.map { (Double($0.epoch), $0.testLoss) } }
    let charts = [
      LineChart(title: "Training loss", xLabel: "epoch", series: faint + smooth, limit: Self.limit(of: losses)),
      LineChart(
        title: "Test accuracy", xLabel: "epoch",
        series: series { $0.epochs.map { (Double($0.epoch), $0.testAccuracy) } }),
      LineChart(
        title: "Validation accuracy", xLabel: "epoch",
        series: series { run in
          run.epochs.compactMap { epoch in epoch.validationAccuracy.map { (Double(epoch.epoch), $0) } }
        }),
      LineChart(
        title: "Test accuracy against training time, which epochs share equally", xLabel: "seconds",
        series: series { $0.accuracyOverTime }),
      LineChart(title: "Test loss", xLabel: "epoch", series: testLosses, limit: Self.limit(of: testLosses)),
      LineChart(
        title: "Learning rate", xLabel: "epoch", series: series { $0.steps.map { ($0.epoch, $0.learningRate) } }),
      LineChart(
        title: "Images a second", xLabel: "epoch", series: series { $0.steps.map { ($0.epoch, $0.imagesPerSecond) } }),
    ]
    return "<h2>Curves</h2><div class=\"charts\">\n\(charts.map(\.html).joined())</div>\n"
  }

  /// Ten times the median: what a run that diverges reaches beyond it would flatten all other curves.
  package static func limit(of series: [LineChart.Series]) -> Double {
    let values = series.flatMap(\.points).map(\.y).filter(\.isFinite).sorted()
    guard !values.isEmpty, values[values.count / 2] > 0 else { return .infinity }
    return 10 * values[values.count / 2]
  }

  /// The mean of each point and those of a fiftieth of the curve before it. O(points).
  ///
  /// A window is the end of one block of its length and the beginning of the next. Sums of both are only added to, so that a point of any
  /// size counts in its own windows alone.
  package static func runningMean(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    let window = max(1, points.count / 50)
    var (beginnings, ends) = (points.map(\.y), points.map(\.y))
    for i in points.indices where i % window != 0 { beginnings[i] += beginnings[i - 1] }
    for i in points.indices.reversed() where (i + 1) % window != 0 && i + 1 < points.count { ends[i] += ends[i + 1] }
    return points.indices.map { i in
      let first = max(0, i + 1 - window)
      let sum = first % window == 0 ? beginnings[i] : ends[first] + beginnings[i]
      return (points[i].x, sum / Double(i + 1 - first))
    }
  }

  private var phases: String {
    let charts = [
      BarChart(
        title: "Time by phase", unit: "s", format: "%.2f", names: Self.phaseTitles, bars: bars { $0.seconds },
        showsShares: true),
      BarChart(
        title: "Memory in use by phase, at most (weights, their state, activations)", unit: "MiB", format: "%.1f",
        names: Self.phaseTitles, bars: bars { Double($0.peakBytes) / 1_048_576 }),
    ]
    guard charts.contains(where: { !$0.html.isEmpty }) else { return "" }
    return """
      <h2>Phases</h2>
      <p class="note">Token layers that run as one chain make their weight gradients with the input gradient.</p>
      <div class="charts">\(charts.map(\.html).joined())</div>

      """
  }

  private static let phaseNames = TrainingPhase.allCases.map(\.name)
  private static let phaseTitles = phaseNames.map { PhaseRecord.title(of: $0) }

  /// Each run's value for each phase, in the order of the names.
  private func bars(_ value: (PhaseRecord) -> Double) -> [BarChart.Bars] {
    runs.enumerated().compactMap { index, run in
      let phases = Dictionary(
        (run.result?.phases ?? []).map { ($0.name, value($0)) }, uniquingKeysWith: { first, _ in first })
      guard !phases.isEmpty else { return nil }
      return BarChart.Bars(name: run.name, color: index, values: Self.phaseNames.map { phases[$0] })
    }
  }

  private var topology: String {
    guard runs.contains(where: { !$0.updates.isEmpty }) else { return "" }
    let charts = [
      LineChart(
        title: "Connections moved an update, of all", xLabel: "step",
        series: series { $0.updates.map { (Double($0.step), $0.moved) } }),
      LineChart(
        title: "Candidates a connection", xLabel: "step",
        series: series { $0.updates.map { (Double($0.step), $0.candidatesPerConnection) } }),
      LineChart(
        title: "Largest gradients found in audited rows, mean of layers", xLabel: "step",
        series: series { $0.updates.compactMap { update in update.mean(\.recall).map { (Double(update.step), $0) } } }),
      LineChart(
        title: "Rank correlation of guide and gradient, mean of layers", xLabel: "step",
        series: series {
          $0.updates.compactMap { update in update.mean(\.rankCorrelation).map { (Double(update.step), $0) } }
        }),
    ]
    let sections = runs.map { TopologySection(run: $0, isOnly: runs.count == 1).html }
    return "<h2>Topology</h2><div class=\"charts\">\n\(charts.map(\.html).joined())</div>\n\(sections.joined())"
  }

  private var structure: String { runs.map { StructureSection(run: $0, isOnly: runs.count == 1).html }.joined() }

  private var settings: String {
    let blocks = runs.map { run in
      """
      <details\(runs.count == 1 ? " open" : "")><summary>\(run.name.escaped)</summary>
      <pre>\(run.configuration.escaped)</pre><pre>\(run.environment.escaped)</pre></details>

      """
    }
    return "<h2>Settings and environment</h2>\n\(blocks.joined())"
  }
}

extension RunRecord {
  /// Accuracy after each epoch; epochs share the training time equally.
  fileprivate var accuracyOverTime: [(x: Double, y: Double)] {
    guard let seconds = result?.trainSeconds else { return [] }
    return epochs.enumerated().map { (seconds * Double($0 + 1) / Double(epochs.count), $1.testAccuracy) }
  }
}

extension RunRecord.Update {
  /// Over the layers that have it.
  fileprivate func mean(_ value: (Layer) -> Double?) -> Double? {
    let values = layers.compactMap(value)
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }

  private var connections: Int { layers.reduce(0) { $0 + $1.nnz } }
  fileprivate var moved: Double { Double(layers.reduce(0) { $0 + $1.grown }) / Double(max(1, connections)) }
  fileprivate var candidatesPerConnection: Double {
    Double(layers.reduce(0) { $0 + $1.candidates }) / Double(max(1, connections))
  }
}
