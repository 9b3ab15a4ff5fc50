import Espalier
import EspalierBench
import EspalierTestRanks
import Testing

private func close(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * max(abs(a), abs(b)) }

/// The model of what ranks send, against numbers by hand.
@Suite struct ScalingModelTests {
  /// 1 GB/s, 10 µs, a nanosecond a number.
  private let model: ScalingModel

  init() throws {
    model = ScalingModel(
      link: try RankLink(gigabytesPerSecond: 1, latencyMicroseconds: 10), normChannels: [64, 100],
      secondsPerNumber: 1e-9)
  }

  @Test func gradients() {
    // 300,000 numbers are two buckets: 2 x 2 x 3 messages; 1,200,000 bytes x 1.5; 300,000 ns.
    #expect(close(model.gradientSeconds(ranks: 4, numbers: 300_000), 120e-6 + 1800e-6 + 300e-6))
    // One full bucket, one message each way, each with half of it.
    #expect(close(model.gradientSeconds(ranks: 2, numbers: 1 << 18), 20e-6 + 1048.576e-6 + 262.144e-6))
    #expect(model.gradientSeconds(ranks: 1, numbers: 300_000) == 0)
  }

  @Test func norms() {
    // Four gathers of two rounds; 3 x (516 + 512 + 804 + 800) bytes.
    #expect(close(model.normSeconds(ranks: 4), 80e-6 + 7.896e-6))
    // Three rounds for five ranks.
    #expect(close(model.normSeconds(ranks: 5), 120e-6 + 10.528e-6))
    #expect(model.normSeconds(ranks: 1) == 0)
  }

  @Test func control() {
    #expect(close(model.controlSeconds(ranks: 2), 30e-6 + 0.034e-6))
    #expect(close(model.controlSeconds(ranks: 4096), 360e-6 + 4095 * 0.034e-6))
    #expect(model.controlSeconds(ranks: 1) == 0)
  }

  /// Without latency, and with nothing to add, time is what a rank group really sends over bandwidth.
  @Test(arguments: [2, 3, 4])
  func bytesAreThoseThatRanksSend(_ ranks: Int) throws {
    let numbers = 600_000
    let sent = try ThreadRanks.run(ranks) { group, _ in
      let context = try ComputeContext(threads: 1)
      var values = [Float](repeating: 1, count: numbers)
      values.withUnsafeMutableBufferPointer { group.sum([$0], for: .gradients, pool: context.pool) }
      _ = group.gather([Double](repeating: 0, count: 4), for: .control)
      _ = group.any(false)
      _ = group.any(false)
      return group.traffic
    }
    let free = ScalingModel(
      link: try RankLink(gigabytesPerSecond: 1, latencyMicroseconds: 0), normChannels: [], secondsPerNumber: 0)
    let bytes = sent.map { Double($0[.gradients]) }.reduce(0, +) / Double(ranks)
    #expect(abs(1e9 * free.gradientSeconds(ranks: ranks, numbers: numbers) - bytes) < 1)
    #expect(sent.allSatisfy { abs(1e9 * free.controlSeconds(ranks: ranks) - Double($0[.control])) < 1e-6 })
  }

  @Test(arguments: [(0, 1), (-1, 1), (.nan, 1), (.infinity, 1), (1, -1), (1, .nan), (1, .infinity)])
  func linksOutOfRangeAreRefused(_ bandwidth: Double, latency: Double) {
    let error = #expect(throws: EspalierError.self) {
      try RankLink(gigabytesPerSecond: bandwidth, latencyMicroseconds: latency)
    }
    #expect(error?.kind == .usage)
  }
}

@Suite struct StepTimesTests {
  @Test func stepsBetweenMeasuredBatchesAreInterpolated() {
    let times = StepTimes([(1, 0.01), (8, 0.03), (32, 0.07), (128, 0.19)])
    for (samples, seconds) in [
      // Two to eight samples fill a block of eight, 20 three of them, 31 one of 32, 40 and 80 blocks of 16 and 32 up to 48 and 96.
      (1, 0.01), (2, 0.03), (8, 0.03), (20, 0.03 + 0.04 * 16 / 24), (31, 0.07), (32, 0.07), (40, 0.09),
      (80, 0.15), (128, 0.19),
    ] {
      #expect(close(times.seconds(samples: samples), seconds), "\(samples): \(times.seconds(samples: samples))")
    }
    #expect(StepTimes([(8, 0.5)]).seconds(samples: 1) == 0.5)
  }

  /// From 1 to 64 samples a sample takes 2 ms more.
  @Test func stepsBeyondMeasuredBatchesGoOnAsBefore() {
    #expect(close(StepTimes([(1, 0.024), (8, 0.1), (64, 0.15)]).seconds(samples: 128), 0.15 + 64 * 0.002))
    #expect(close(StepTimes([(8, 0.5)]).seconds(samples: 32), 2))
    #expect(close(StepTimes([(1, 0.5), (8, 0.4)]).seconds(samples: 32), 1.6), "noise makes no time that shrinks")
  }

  @Test func theWholeBatchIsAmongThoseMeasured() {
    #expect(StepTimes.batches(upTo: 1) == [1])
    #expect(StepTimes.batches(upTo: 8) == [8, 1])
    #expect(StepTimes.batches(upTo: 48) == [8, 32, 48, 1, 16])
    #expect(StepTimes.batches(upTo: 100) == [8, 32, 112, 1, 64, 16])
    #expect(StepTimes.batches(upTo: 256) == [8, 32, 256, 1, 64, 16, 128])
    #expect(StepTimes.batches(upTo: 512) == [8, 32, 128, 1, 64, 16])
  }
}

@Suite struct ScalingPlanTests {
  private func plan(ranks: [Int]) throws -> ScalingPlan {
    ScalingPlan(
      sparseTimes: StepTimes([(1, 0.001), (8, 0.002), (64, 0.016)]), denseTimes: StepTimes([(1, 0.01), (64, 0.1)]),
      sparseNumbers: 1000, denseNumbers: 100_000,
      model: ScalingModel(
        link: try RankLink(gigabytesPerSecond: 1, latencyMicroseconds: 100), normChannels: [], secondsPerNumber: 0),
      batchSize: 64, ranks: ranks)
  }

  @Test func strongScalingSharesTheBatch() throws {
    let plan = try plan(ranks: [1, 8, 10, 64, 128])
    #expect(plan.strong.map(\.ranks) == [1, 8, 10, 64], "no rank without a sample")
    #expect(plan.strong.map(\.samplesPerRank) == [64, 8, 7, 1])
    #expect(plan.strong.allSatisfy { $0.batchSize == 64 })
    let row = plan.strong[1]
    // 7 x 2 messages, 4000 bytes x 1.75; three gathers of three rounds.
    #expect(close(row.sparse.gradientSeconds, 1.4e-3 + 7e-6))
    #expect(close(row.sparse.otherSeconds, 0.9e-3 + 238e-9))
    #expect(close(row.sparse.seconds, 2e-3 + 1.4e-3 + 7e-6 + 0.9e-3 + 238e-9))
    #expect(close(row.dense.gradientSeconds, 1.4e-3 + 700e-6))
    #expect(close(plan.speedUps(row).sparse, 16e-3 / row.sparse.seconds))
    let single = plan.speedUps(plan.strong[0])
    #expect(single.sparse == 1 && single.dense == 1)
  }

  @Test func weakScalingGivesEachRankABatch() throws {
    let plan = try plan(ranks: [2, 128])
    #expect(plan.weak.map(\.batchSize) == [128, 8192] && plan.weak.allSatisfy { $0.samplesPerRank == 64 })
    #expect(plan.weak.allSatisfy { $0.sparse.computeSeconds == 0.016 && $0.dense.computeSeconds == 0.1 })
    let row = plan.weak[1]
    #expect(close(plan.speedUps(row).sparse, 128 * 0.016 / row.sparse.seconds))
  }

  @Test func thePageStandsAlone() throws {
    let page = try plan(ranks: [1, 2, 4, 8, 64]).page(title: "a < b", note: "a note")
    #expect(page.contains("a &lt; b") && page.contains("a note"))
    #expect(page.components(separatedBy: "<svg").count == 5)
    for word in ["http", "<script", "src=", "nan", "inf"] { #expect(!page.contains(word), "\(word)") }
  }
}

/// Smaller models that stand for those that would take too long, or too much memory, to measure.
@Suite struct StandInTests {
  private func model(_ name: String, hidden: [Int] = [512, 512], side: Int = 32) throws -> ModelSpec {
    try ModelCatalog.spec(
      .init(
        name: name, hidden: hidden, images: FeatureSize(channels: 3, height: side, width: side), classes: 10))
  }

  @Test(arguments: ["mlp", "vgg16-small", "resnet20", "resnet50", "vgg11", "simple-vit-tiny"])
  func everyKindComesInHalfTheWidth(_ name: String) throws {
    let whole = try model(name)
    let half = try whole.reduced(width: 2)
    #expect(half.weightLayers.map(\.shape.name) == whole.weightLayers.map(\.shape.name))
    for (a, b) in zip(half.weightLayers, whole.weightLayers).dropLast() { #expect(2 * a.shape.rows == b.shape.rows) }
    #expect(half.weightLayers.last?.shape.rows == 10)
    let ratio = Double(whole.sparsifiableWeights) / Double(half.sparsifiableWeights)
    #expect(name == "mlp" ? (2...4).contains(ratio) : (3.5...4).contains(ratio))
    #expect(half.batchNormChannels.map { 2 * $0 } == whole.batchNormChannels)
  }

  @Test(arguments: ["mlp", "vgg16-small", "resnet56", "simple-vit-tiny"])
  func smallModelsStandForThemselves(_ name: String) throws {
    let whole = try model(name)
    let (sparse, dense) = (StandIn(sparse: whole, sparsity: 0.9), StandIn(dense: whole))
    #expect(sparse.spec == whole && sparse.sparsity == 0.9 && sparse.reduction == .none)
    #expect(dense.spec == whole && dense.sparsity == 0 && dense.reduction == .none)
  }

  @Test func aWideModelKeepsConnectionsAUnit() throws {
    let wide = try model("mlp", hidden: [1 << 20, 1 << 20])
    let sparse = StandIn(sparse: wide, sparsity: 0.999993)
    let connections = (1 - sparse.sparsity) * Double(sparse.spec.sparsifiableWeights)
    #expect((sparse.reduction.width, sparse.reduction.side) == (4, 1))
    #expect(abs(connections - 7e-6 * Double(wide.sparsifiableWeights) / 4) < 10)
    let dense = StandIn(dense: wide).spec.sparsifiableWeights
    #expect(dense <= 40_000_000 && dense > 10_000_000)
  }

  @Test func aDenserModelKeepsItsDensity() throws {
    let standIn = StandIn(sparse: try model("mlp", hidden: [8192, 8192]), sparsity: 0.5)
    #expect(standIn.reduction.width > 1 && standIn.sparsity == 0.5)
  }

  @Test(arguments: ["resnet50", "vgg16", "simple-vit"])
  func largeImagesGetSmaller(_ name: String) throws {
    let whole = try model(name, side: 224)
    let (sparse, dense) = (StandIn(sparse: whole, sparsity: 0.98), StandIn(dense: whole))
    #expect(sparse.reduction.width == 1 && sparse.reduction.side > 1 && sparse.sparsity == 0.98)
    #expect(sparse.spec.sparsifiableWeights == whole.sparsifiableWeights)
    #expect(dense.spec.denseForwardFlops <= 600_000_000 && dense.spec.sparsifiableWeights <= 40_000_000)
    let area = dense.reduction.side * dense.reduction.side
    #expect(dense.share(ofActivations: 1 << 30) == Double(1 << 30) / Double(area * dense.reduction.width))
  }

  @Test func channelsOfEveryNormAreCounted() throws {
    let norms = try model("resnet20").batchNormChannels
    #expect(norms == Array(repeating: 16, count: 7) + Array(repeating: 32, count: 6) + Array(repeating: 64, count: 6))
    #expect(try model("mlp").batchNormChannels.isEmpty)
  }
}
