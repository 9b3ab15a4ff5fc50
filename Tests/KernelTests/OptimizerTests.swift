import EspLayers
import TestSupport
import Testing

@Suite struct OptimizerTests {
  /// Two steps by hand, in numbers that Float holds exactly.
  @Test func sgdFollowsPyTorchsRule() {
    for isa in LayerHarness.isas {
      var w: [Float] = [1]
      var v: [Float] = [0]
      esp_sgd(isa, &w, [0.5], &v, 1, 0.5, 0.5, 0.25, 1)  // g' = 0.75
      #expect(v == [0.75] && w == [0.625])
      esp_sgd(isa, &w, [0.5], &v, 1, 0.5, 0.5, 0.25, 1)  // g' = 0.65625
      #expect(v == [1.03125] && w == [0.109375])
    }
  }

  @Test(
    arguments: [0, 1, 7, 8, 9, 31, 33, 1000],
    [(0.1, 0.9, 5e-4), (0.01, 0, 0), (1, 0.5, 0.1)] as [(Float, Float, Float)])
  func sgdMatchesDoubleOverSeveralSteps(n: Int, _ rule: (rate: Float, momentum: Float, decay: Float)) {
    var random = LayerRandom(seed: UInt64(n))
    let start = random.floats(n)
    let gradients = (0..<6).map { _ in random.floats(n) }
    let (rate, momentum, decay) = (Double(rule.rate), Double(rule.momentum), Double(rule.decay))
    var w = start.map(Double.init)
    var v = [Double](repeating: 0, count: n)
    // Errors pass on through the same recurrence as the values, each step adding its roundings.
    var wError = [Double](repeating: 0, count: n)
    var vError = wError
    for g in gradients {
      for i in 0..<n {
        let decayed = Double(g[i]) + decay * w[i]
        let terms = abs(Double(g[i])) + abs(decay * w[i]) + abs(momentum * v[i])
        v[i] = momentum * v[i] + decayed
        vError[i] = momentum * vError[i] + decay * wError[i] + 4 * LayerHarness.u * terms
        w[i] -= rate * v[i]
        wError[i] += rate * vError[i] + 2 * LayerHarness.u * (abs(w[i]) + 2 * abs(rate * v[i]))
      }
    }
    let values = LayerHarness.outputs { isa, threads in
      var w = start
      var v = [Float](repeating: 0, count: n)
      for g in gradients { esp_sgd(isa, &w, g, &v, n, rule.rate, rule.momentum, rule.decay, threads) }
      return w + v
    }
    for actual in values {
      LayerHarness.expectClose(Array(actual.prefix(n)), w, rejectsZeros: n > 0) { wError[$0] }
      LayerHarness.expectClose(Array(actual.suffix(n)), v, rejectsZeros: n > 0) { vError[$0] }
    }
  }

  /// Moments of random gradients, then the weights' step, each rounding some five times.
  @Test(arguments: [0, 1, 7, 8, 9, 31, 33, 1000], [(0.001, 0.01, 1), (0.1, 0, 3)] as [(Double, Double, Int)])
  func adamWMatchesDouble(n: Int, _ rule: (rate: Double, decay: Double, first: Int)) {
    var random = LayerRandom(seed: UInt64(n + 1))
    let start = random.floats(n)
    let gradients = (0..<6).map { _ in random.floats(n) }
    var (w, m, v) = (start.map(Double.init), [Double](repeating: 0, count: n), [Double](repeating: 0, count: n))
    var error = [Double](repeating: 0, count: n)
    func corrections(_ step: Int) -> (Double, Double) {
      ((0..<rule.first + step).reduce(1) { p, _ in p * 0.9 }, (0..<rule.first + step).reduce(1) { p, _ in p * 0.999 })
    }
    for (step, g) in gradients.enumerated() {
      let (b1, b2) = corrections(step)
      for i in 0..<n {
        m[i] = 0.9 * m[i] + 0.1 * Double(g[i])
        v[i] = 0.999 * v[i] + 0.001 * Double(g[i]) * Double(g[i])
        let move = rule.rate * (m[i] / (1 - b1)) / ((v[i] / (1 - b2)).squareRoot() + 1e-8)
        w[i] -= rule.rate * rule.decay * w[i] + move
        // m cancels: it errs by roundings of gradients below 1, against sqrt(v / (1 - b2)).
        let spread = rule.rate / (1 - b1) / ((v[i] / (1 - b2)).squareRoot() + 1e-8)
        error[i] += LayerHarness.u * (4 * abs(w[i]) + 12 * abs(move) + 8 * spread)
      }
    }
    let values = LayerHarness.outputs { isa, threads in
      var (w, m, v) = (start, [Float](repeating: 0, count: n), [Float](repeating: 0, count: n))
      for (step, g) in gradients.enumerated() {
        let (b1, b2) = corrections(step)
        var numbers = esp_adamw(
          keep: Float(1 - rule.rate * rule.decay), gain1: 0.1, beta2: 0.999, gain2: 0.001,
          step_size: Float(rule.rate / (1 - b1)), root_correction: Float((1 - b2).squareRoot()), epsilon: 1e-8)
        esp_adamw_step(isa, &numbers, g, n, &w, &m, &v, threads)
      }
      return w + m + v
    }
    for actual in values {
      LayerHarness.expectClose(Array(actual[..<n]), w, rejectsZeros: n > 0) { error[$0] }
      LayerHarness.expectClose(Array(actual[n..<2 * n]), m, rejectsZeros: n > 0) { _ in 24 * LayerHarness.u }
      LayerHarness.expectClose(Array(actual[(2 * n)...]), v, rejectsZeros: n > 0) { 24 * LayerHarness.u * v[$0] }
    }
  }

  /// Every product is exact in double, so that only the additions round.
  @Test(arguments: [0, 1, 15, 16, 17, 63, 64, 65, 1023, 5000])
  func squareSumsMatchDouble(n: Int) {
    var random = LayerRandom(seed: UInt64(n))
    let x = random.floats(n)
    let expected = x.reduce(0) { $0 + Double($1) * Double($1) }
    for isa in LayerHarness.isas {
      let sums = LayerHarness.threads.map { esp_square_sum(isa, x, n, $0) }
      #expect(Set(sums).count == 1)
      #expect(abs(sums[0] - expected) <= Double(n) * 0x1p-53 * expected)
    }
  }

  @Test func squareSumsDoNotOverflowAndSeeEveryElement() {
    for isa in LayerHarness.isas {
      #expect(esp_square_sum(isa, [3e38, 2e38], 2, 2).isFinite)
      for i in 0..<100 {
        var x = [Float](repeating: 0, count: 100)
        x[i] = 3
        #expect(esp_square_sum(isa, x, 100, 3) == 9)
      }
    }
  }

  @Test(arguments: [0, 1, 9, 100])
  func scalingMultipliesEveryElement(n: Int) {
    var random = LayerRandom(seed: 5)
    let start = random.floats(n)
    for actual in LayerHarness.outputs({ isa, threads in
      var x = start
      esp_scale(isa, 0.3, n, &x, threads)
      return x
    }) {
      #expect(actual == start.map { $0 * 0.3 })
    }
  }

  @Test(arguments: [1, 7, 33, 200], LayerHarness.threads)
  func oneBrokenElementIsFoundAnywhere(n: Int, threads: Int32) {
    for isa in LayerHarness.isas {
      var x = [Float](repeating: .greatestFiniteMagnitude, count: n)
      x[0] = .leastNonzeroMagnitude
      #expect(esp_all_finite(isa, x, n, threads) == 1)
      for i in 0..<n {
        let kept = x[i]
        for broken in [Float.nan, -.nan, .infinity, -.infinity, .signalingNaN] {
          x[i] = broken
          #expect(esp_all_finite(isa, x, n, threads) == 0)
        }
        x[i] = kept
      }
      #expect(esp_all_finite(isa, [], 0, threads) == 1)
    }
  }
}
