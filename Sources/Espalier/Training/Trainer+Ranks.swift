import EspalierCore

/// Ranks share each batch: each takes its slice of it forward and backward, then gradients are summed, and all move their weights alike.
extension Trainer {
  /// This rank's part of each batch.
  var slice: Range<Int> { ranks.part(of: options.batchSize, rank: ranks.rank) }

  /// A tape for this rank's part of a batch; `number` keys dropout's masks.
  func makeTape(number: Int) -> Tape {
    let tape = Tape(context: context, mode: .training(step: number))
    tape.firstSample = slice.lowerBound
    tape.ranks = options.localNorms ? nil : ranks
    return tape
  }

  /// Makes the gradients those of the whole batch.
  func sumGradients() {
    guard ranks.size > 1 else { return }
    ranks.sum(
      model.trained.map { UnsafeMutableBufferPointer(rebasing: $0.gradient.buffer[..<$0.count]) }, for: .gradients,
      pool: context.pool)
    summedSteps += 1
  }

  /// Where each rank's batch norms have statistics of their own, running ones become their mean, weighted by samples.
  func averageStatistics() {
    guard ranks.size > 1, options.localNorms else { return }
    let statistics = model.runningStatistics
    for buffer in statistics { context.scale(buffer, by: Float(slice.count) / Float(options.batchSize)) }
    ranks.sum(statistics.map(\.buffer), for: .statistics, pool: context.pool)
  }

  /// Whether any rank's observer wants a stop: all see the same.
  func stops(_ observer: some TrainingObserver) -> Bool { ranks.any(observer.wantsStop) }

  /// - Throws: `EspalierError.invariant` where a rank begins with something else than rank 0.
  func checkThatRanksBeginAlike() throws {
    guard ranks.size > 1 else { return }
    try check([
      ("instruction set (ESPALIER_ISA sets it)", context.instructionSet.name), ("settings", "\(options)"),
      ("optimizer", "\(optimizer)"),
      ("number of training samples", "\(loader.split.count)"), ("step", "\(progress.step)"),
      ("connections or weights", model.weightsSHA256),
    ])
  }

  /// - Throws: `EspalierError.invariant` where a rank holds other connections or weights than rank 0.
  func checkThatRanksAgree() throws {
    guard ranks.size > 1 else { return }
    try check([("connections or weights", model.weightsSHA256)])
  }

  private func check(_ pieces: [(name: String, text: String)]) throws {
    guard let (rank, name) = ranks.firstDifference(in: pieces) else { return }
    throw EspalierError.invariant(
      "step \(progress.step): rank \(rank) has another \(name) than rank 0; all ranks must run the same program on the same data"
    )
  }

  /// What this process has sent to others so far; nil where there are none.
  var rankRecord: RankRecord? {
    guard ranks.size > 1 else { return nil }
    let traffic = ranks.traffic
    return RankRecord(
      ranks: ranks.size, gradientBytesPerStep: traffic[.gradients] / max(1, summedSteps),
      statisticsBytes: traffic[.statistics], explorationBytes: traffic[.exploration],
      controlBytes: traffic[.control], seconds: traffic.seconds)
  }
}

/// What one rank has sent to the others while it trained, in this process.
public struct RankRecord: Sendable, Codable, Hashable {
  /// Number of ranks.
  public let ranks: Int
  /// For the gradients of a step: 4 bytes a connection, bias and norm parameter, times 2 (p - 1) / p.
  public let gradientBytesPerStep: Int
  /// For batch norms: 16 bytes a channel, pass and other rank.
  public let statisticsBytes: Int
  /// For updates of the topology: activities of layers, and the candidates' gradients.
  public let explorationBytes: Int
  /// For losses, wishes to stop and hashes.
  public let controlBytes: Int
  /// Time in calls that send and receive, waiting for other ranks included.
  public let seconds: Double
}

extension RankGroup {
  /// The loss over all ranks' samples.
  func sum(_ loss: LossResult) -> LossResult {
    guard size > 1 else { return loss }
    let sums = sum(
      [loss.total, Double(loss.correct), Double(loss.samples), Double(loss.correctInTopFive ?? 0)], for: .control)
    return LossResult(
      total: sums[0], correct: Int(sums[1]), samples: Int(sums[2]),
      correctInTopFive: loss.correctInTopFive.map { _ in Int(sums[3]) })
  }
}

/// A layer in the backward pass of a batch that ranks share, as updaters see it: gradients and activities are those of the whole batch.
struct SharedSite: GradientSite {
  let site: any GradientSite
  let ranks: RankGroup
  /// Number of this rank's first sample in the batch.
  let firstSample: Int
  let context: ComputeContext

  var parameter: SparseParameter { site.parameter }
  var positions: Int { site.positions }

  func computeGradients(at connections: SparseStructure, into gradients: MeteredBuffer<Float>) {
    site.computeGradients(at: connections, into: gradients)
    share(gradients, count: connections.count)
  }

  func computeGradients(ofRows rows: Range<Int>, into gradients: MeteredBuffer<Float>) {
    site.computeGradients(ofRows: rows, into: gradients)
    share(gradients, count: rows.count * parameter.matrix.columns)
  }

  private func share(_ gradients: MeteredBuffer<Float>, count: Int) {
    ranks.sum(
      [UnsafeMutableBufferPointer(rebasing: gradients.buffer[..<count])], for: .exploration, pool: context.pool)
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity {
    let activity =
      switch measure {
      case .magnitudes: site.activity(measure)
      case .signed(let stream, _): site.activity(.signed(stream, firstSample: firstSample))
      }
    for sums in [activity.inputs, activity.outputs] { ranks.sum(sums.buffer, for: .exploration, pool: context.pool) }
    return activity
  }

  func activityFlops(_ measure: ActivityMeasure) -> Int { site.activityFlops(measure) }
}
