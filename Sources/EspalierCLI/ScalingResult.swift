import Espalier
import EspalierBench
import Foundation

/// What `plan --ranks` adds to the plan.
struct ScalingResult: Encodable {
  let bandwidthGbS, latencyUs: Double
  /// How many numbers a step's gradients are.
  let sparseNumbers, denseNumbers: Int
  /// How much smaller a model was measured in place of the whole one: 1 for not at all.
  let sparseStandIn, denseStandIn: ScalingPlan.Reduction
  let nanosecondsPerNumber: Double
  /// Steps of one rank.
  let measured: Measured
  /// One whole batch for all ranks, and a batch on each.
  let strong, weak: [Row]
  private let plan: ScalingPlan

  enum CodingKeys: CodingKey {
    case bandwidthGbS, latencyUs, sparseNumbers, denseNumbers, sparseStandIn, denseStandIn, nanosecondsPerNumber
    case measured, strong, weak
  }

  struct Measured: Encodable {
    let sparse, dense: [Point]
  }

  struct Point: Encodable {
    let batch: Int
    let ms: Double
  }

  struct Row: Encodable {
    let ranks, batchSize, samplesPerRank: Int
    let sparseMs, sparseComputeMs, sparseGradientsMs: Double
    let denseMs, denseComputeMs, denseGradientsMs: Double
    /// Of norms' statistics and control, sparse and dense alike.
    let statisticsMs: Double
    /// Samples a second in proportion to one rank's.
    let sparseSpeedup, denseSpeedup: Double
  }

  init(_ plan: ScalingPlan) {
    self.plan = plan
    bandwidthGbS = plan.model.link.bytesPerSecond * 1e-9
    latencyUs = plan.model.link.latency * 1e6
    (sparseNumbers, denseNumbers) = (plan.sparseNumbers, plan.denseNumbers)
    (sparseStandIn, denseStandIn) = (plan.sparseStandIn, plan.denseStandIn)
    nanosecondsPerNumber = 1e9 * plan.model.secondsPerNumber
    func points(_ times: StepTimes) -> [Point] {
      times.points.map { Point(batch: $0.samples, ms: 1000 * $0.seconds) }
    }
    measured = Measured(sparse: points(plan.sparseTimes), dense: points(plan.denseTimes))
    func rows(_ rows: [ScalingPlan.Row]) -> [Row] {
      rows.map { row in
        let speedUps = plan.speedUps(row)
        return Row(
          ranks: row.ranks, batchSize: row.batchSize, samplesPerRank: row.samplesPerRank,
          sparseMs: 1000 * row.sparse.seconds, sparseComputeMs: 1000 * row.sparse.computeSeconds,
          sparseGradientsMs: 1000 * row.sparse.gradientSeconds, denseMs: 1000 * row.dense.seconds,
          denseComputeMs: 1000 * row.dense.computeSeconds, denseGradientsMs: 1000 * row.dense.gradientSeconds,
          statisticsMs: 1000 * row.sparse.otherSeconds, sparseSpeedup: speedUps.sparse, denseSpeedup: speedUps.dense)
      }
    }
    (strong, weak) = (rows(plan.strong), rows(plan.weak))
  }

  /// Plots, under the plan's own settings.
  func page(title: String, note: String) -> String { plan.page(title: title, note: note + "; " + setting) }

  private var setting: String {
    String(format: "%g GB/s and %g µs a message between ranks", bandwidthGbS, latencyUs)
  }

  /// For people.
  var lines: [String] {
    func list(_ points: [Point]) -> String {
      points.map { String(format: "%d: %.1f", $0.batch, $0.ms) }.joined(separator: ", ")
    }
    func words(_ standIn: ScalingPlan.Reduction) -> String {
      guard standIn != .none else { return "" }
      let parts = [(standIn.width, "channels"), (standIn.side, "sides of images")].filter { $0.0 > 1 }
      return " (with \(parts.map { "1/\($0) of the \($1)" }.joined(separator: " and ")), scaled by operations)"
    }
    var lines = [
      "", "several ranks, predicted: \(setting)",
      "measured        whole steps on one rank, samples: ms; sparse \(list(measured.sparse))\(words(sparseStandIn)); dense \(list(measured.dense))\(words(denseStandIn))",
      String(
        format: "sent            %.2f MB of gradients a step and rank at most, dense %.2f MB",
        8e-6 * Double(sparseNumbers),
        8e-6 * Double(denseNumbers)),
      "", "a whole batch of \(plan.batchSize) samples, which the ranks share (strong scaling)",
    ]
    lines += [Self.heading] + strong.map(Self.line)
    if strong.count < weak.count { lines.append("more ranks than the batch has samples cannot share it") }
    lines += ["", "\(plan.batchSize) samples on each rank (weak scaling)", Self.heading] + weak.map(Self.line)
    if let most = weak.last, most.batchSize > Self.largestBatch {
      lines.append("train takes whole batches of at most \(Self.largestBatch) samples")
    }
    return lines
  }

  /// What `TrainingOptions` takes.
  private static let largestBatch = 65_536

  private static let heading =
    "  ranks  samples a rank  sparse ms  of it messages  speed-up   dense ms  of it messages  speed-up  dense/sparse"

  private static func line(_ row: Row) -> String {
    String(
      format: "%7d%16d%11.2f%16.2f%10.2f%11.2f%16.2f%10.2f%14.2f", row.ranks, row.samplesPerRank, row.sparseMs,
      row.sparseGradientsMs + row.statisticsMs, row.sparseSpeedup, row.denseMs,
      row.denseGradientsMs + row.statisticsMs, row.denseSpeedup, row.denseMs / row.sparseMs)
  }
}
