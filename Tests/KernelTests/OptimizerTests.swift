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
