import EspLayers
import TestSupport
import Testing

@Suite struct LossTests {
  static let u = LayerHarness.u

  /// Logits [blocks, classes, lanes] of one batch; padding lanes hold large finite values.
  struct Batch {
    let shape: LayerShape
    var logits: [Float]
    let labels: [UInt32]
    let smoothing: Float

    init(classes: Int, samples: Int, lanes: Int, smoothing: Float, magnitude: Float = 5) {
      var random = LayerRandom(seed: UInt64(classes * 1000 + samples * 10 + lanes))
      shape = LayerShape(channels: classes, positions: 1, samples: samples, lanes: lanes)
      logits = shape.padded(random.floats(shape.count, in: -magnitude...magnitude), with: 1e38)
      labels = (0..<samples).map { _ in UInt32.random(in: 0..<UInt32(classes), using: &random) }
      self.smoothing = smoothing
    }

    func logits(_ sample: Int) -> [Float] { (0..<shape.channels).map { logits[shape.index(sample, $0, 0)] } }

    func oracle(_ sample: Int) -> LayerLossOracle {
      LayerLossOracle(
        logits: logits(sample).map(Double.init), label: Int(labels[sample]), smoothing: Double(smoothing))
    }

    func run(_ isa: esp_isa, scale: Float = 1) -> (loss: Double, correct: Int, d: [Float]) {
      var d = LayerHarness.nans(shape.count)
      var correct = -1
      let loss = esp_softmax_cross_entropy(
        isa, logits, labels, smoothing, scale, shape.channels, shape.samples, shape.lanes, &d, &correct)
      return (loss, correct, d)
    }

    func runWithoutGradient(_ isa: esp_isa) -> (loss: Double, correct: Int) {
      var correct = -1
      let loss = esp_softmax_cross_entropy(
        isa, logits, labels, smoothing, 1, shape.channels, shape.samples, shape.lanes, nil, &correct)
      return (loss, correct)
    }
  }

  static func check(_ batch: Batch) {
    let samples = 0..<batch.shape.samples
    let oracles = samples.map { batch.oracle($0) }
    let expected = oracles.reduce(0) { $0 + $1.loss }
    // A centred logit errs by u of itself, expf by about two units in the last place.
    let bound = oracles.reduce(0) { $0 + 4 * u * (1 + $1.range) }
    let scale: Float = 0.125
    var gradient = [Double](repeating: 0, count: batch.shape.count)
    var gradientBound = gradient
    for n in samples {
      let errors = zip(oracles[n].softmax, oracles[n].gradient)
      for (k, (p, g)) in errors.enumerated() {
        let e = batch.shape.index(n, k, 0)
        gradient[e] = Double(scale) * g
        gradientBound[e] = Double(scale) * (p * u * (6 + 2 * oracles[n].range) + 2 * u * abs(g)) + 1e-44
      }
    }
    let correct = samples.count { n in
      let logits = batch.logits(n)
      return logits.firstIndex(of: logits.max()!)! == Int(batch.labels[n])
    }
    for isa in LayerHarness.isas {
      let actual = batch.run(isa, scale: scale)
      #expect(abs(actual.loss - expected) <= bound)
      #expect(actual.correct == correct)
      LayerHarness.expectClose(actual.d, gradient, rejectsZeros: batch.shape.channels > 1) { gradientBound[$0] }
      for e in 0..<batch.shape.count where batch.shape.isPadding(e) { #expect(actual.d[e].bitPattern == 0) }
      #expect(batch.runWithoutGradient(isa) == (actual.loss, actual.correct))
    }
  }

  @Test(arguments: [1, 2, 10, 100], LayerShape.allLanes)
  func matchesTheDefinition(classes: Int, lanes: Int) {
    for samples in [1, 31, 33] {
      for smoothing in [0, 0.1, 1] as [Float] {
        Self.check(Batch(classes: classes, samples: samples, lanes: lanes, smoothing: smoothing))
      }
    }
  }

  @Test(arguments: LayerShape.allLanes, [0, 0.1] as [Float])
  func hugeLogitsStayFinite(lanes: Int, smoothing: Float) {
    Self.check(Batch(classes: 7, samples: 33, lanes: lanes, smoothing: smoothing, magnitude: 1e4))
  }

  @Test func theGradientIsThatOfTheLoss() {
    let batch = Batch(classes: 6, samples: 3, lanes: 8, smoothing: 0.1)
    let h = 1e-5
    for n in 0..<3 {
      let oracle = batch.oracle(n)
      for k in 0..<6 {
        func loss(_ step: Double) -> Double {
          var logits = oracle.logits
          logits[k] += step
          return LayerLossOracle(logits: logits, label: Int(batch.labels[n]), smoothing: Double(batch.smoothing)).loss
        }
        #expect(abs((loss(h) - loss(-h)) / (2 * h) - oracle.gradient[k]) < 1e-8)
      }
    }
  }

  @Test func ofTiedLogitsTheFirstIsTheAnswer() {
    for isa in LayerHarness.isas {
      var correct = -1
      for (label, count) in [(0, 0), (1, 1), (2, 0)] as [(UInt32, Int)] {
        _ = esp_softmax_cross_entropy(isa, [1, 4, 4], [label], 0, 1, 3, 1, 1, nil, &correct)
        #expect(correct == count)
      }
    }
  }

  /// Logits of a few values, so that there are ties; in the definition, a stable sort by falling logit keeps the classes' order.
  @Test(arguments: [1, 4, 5, 6, 100, 130], LayerShape.allLanes)
  func labelsAmongTheLargestAreCounted(classes: Int, lanes: Int) {
    for samples in [1, 31, 33] {
      var batch = Batch(classes: classes, samples: samples, lanes: lanes, smoothing: 0)
      for n in 0..<samples {
        for c in 0..<classes {
          let e = batch.shape.index(n, c, 0)
          batch.logits[e] = (batch.logits[e] * 2).rounded()
        }
      }
      for k in [1, 2, 5] {
        let expected = (0..<samples).count { n in
          let logits = batch.logits(n)
          let order = (0..<classes).sorted { logits[$0] == logits[$1] ? $0 < $1 : logits[$0] > logits[$1] }
          return order.prefix(k).contains(Int(batch.labels[n]))
        }
        for isa in LayerHarness.isas {
          #expect(esp_top_k_correct(isa, batch.logits, batch.labels, k, classes, samples, lanes) == expected)
          if k == 1 { #expect(batch.runWithoutGradient(isa).correct == expected) }
        }
      }
    }
  }

  @Test func brokenLogitsAreNeverAmongTheLargest() {
    for isa in LayerHarness.isas {
      let nan = Float.nan
      #expect(esp_top_k_correct(isa, [nan, nan, nan], [1], 2, 3, 1, 1) == 0)
      #expect(esp_top_k_correct(isa, [nan, 5, 1], [1], 1, 3, 1, 1) == 0)
      #expect(esp_top_k_correct(isa, [1, 5, nan], [1], 2, 3, 1, 1) == 1)
    }
  }

  @Test(arguments: [Float.nan, .infinity], LayerShape.allLanes)
  func aBrokenLogitBreaksTheLoss(value: Float, lanes: Int) {
    for (sample, k) in [(0, 0), (4, 2), (32, 4)] {
      var batch = Batch(classes: 5, samples: 33, lanes: lanes, smoothing: 0)
      batch.logits[batch.shape.index(sample, k, 0)] = value
      for isa in LayerHarness.isas { #expect(!batch.run(isa).loss.isFinite) }
    }
  }

  /// A class that is masked out costs nothing, unless it is the label.
  @Test func minusInfinityMasksAClass() {
    for isa in LayerHarness.isas {
      var correct = -1
      let loss = esp_softmax_cross_entropy(isa, [0, -.infinity, 0], [2], 0, 1, 3, 1, 1, nil, &correct)
      #expect(abs(loss - 0.693_147_180_559_945) < 1e-7)
      #expect(esp_softmax_cross_entropy(isa, [0, -.infinity, 0], [1], 0, 1, 3, 1, 1, nil, &correct) == .infinity)
    }
  }
}
