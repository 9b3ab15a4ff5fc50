import EspLayers
import Foundation
import TestSupport
import Testing

/// Inputs of one attention; padding lanes hold finite values in qkv, and zeros in d.
struct AttentionCase: Sendable, CustomTestStringConvertible {
  let heads, size, tokens, samples, lanes: Int
  /// Magnitude of queries and keys.
  var gain: Float = 1

  /// Tokens below, at and above the panels of every variant, and so many that queries are worked on in parts.
  static let all: [AttentionCase] = LayerShape.allLanes.flatMap { lanes in
    [(1, 1, 1), (2, 5, 3), (3, 16, 17), (1, 12, 24), (1, 7, 70), (1, 3, 301)].map { heads, size, tokens in
      AttentionCase(heads: heads, size: size, tokens: tokens, samples: tokens > 100 ? 3 : lanes + 1, lanes: lanes)
    }
  }

  /// Scores reach +-80 and beyond.
  static let extreme = LayerShape.allLanes.map {
    AttentionCase(heads: 2, size: 4, tokens: 13, samples: 9, lanes: $0, gain: 12)
  }

  var testDescription: String { "\(heads) heads of \(size), \(tokens) tokens, \(samples) samples, lanes \(lanes)" }

  var output: LayerShape {
    LayerShape(channels: heads * size, positions: tokens, samples: samples, lanes: lanes, areTokens: true)
  }
  var input: LayerShape {
    LayerShape(channels: 3 * heads * size, positions: tokens, samples: samples, lanes: lanes, areTokens: true)
  }
  var statisticsCount: Int { output.blocks * heads * 2 * tokens * lanes }
  var shape: esp_attention_shape {
    esp_attention_shape(blocks: output.blocks, heads: heads, size: size, tokens: tokens, lanes: lanes)
  }

  var qkv: [Float] {
    var random = LayerRandom(seed: UInt64(input.count))
    let values = random.floats(input.count)
    return values.indices.map { $0 / lanes % input.channels < 2 * heads * size ? gain * values[$0] : values[$0] }
  }
  var d: [Float] {
    var random = LayerRandom(seed: UInt64(output.count + 7))
    return output.padded(random.floats(output.count), with: 0)
  }

  /// Y, then the gradient of qkv; every buffer touches an inaccessible page on `side`.
  func run(_ isa: esp_isa, _ threads: Int32, guarding side: GuardedSide) -> [Float] {
    var shape = self.shape
    let qkv = GuardedBuffer(self.qkv, guarding: side)
    let y = GuardedBuffer(LayerHarness.nans(output.count), guarding: side)
    let statistics = GuardedBuffer(LayerHarness.nans(statisticsCount), guarding: side)
    var workspace = GuardedBuffer(
      LayerHarness.nans(esp_attention_forward_workspace(&shape, threads)), guarding: side)
    esp_attention_forward(isa, qkv.base, &shape, y.base, statistics.base, workspace.base, threads)
    let d = GuardedBuffer(self.d, guarding: side)
    let gradient = GuardedBuffer(LayerHarness.nans(input.count), guarding: side)
    workspace = GuardedBuffer(LayerHarness.nans(esp_attention_backward_workspace(&shape, threads)), guarding: side)
    esp_attention_backward(
      isa, qkv.base, d.base, statistics.base, &shape, gradient.base, workspace.base, threads)
    return y.contents + gradient.contents
  }
}

/// Attention of one sample and head in Double, by its definition, with bounds of what Float's rounding can do.
struct AttentionOracle {
  var y, yBound, gradient, gradientBound: [Double]

  init(_ test: AttentionCase) {
    y = [Double](repeating: 0, count: test.output.count)
    yBound = y
    gradient = [Double](repeating: 0, count: test.input.count)
    gradientBound = gradient
    let qkv = test.qkv.map(Double.init)
    let d = test.d.map(Double.init)
    for sample in 0..<test.samples {
      for head in 0..<test.heads { add(test, qkv, d, sample, head) }
    }
  }

  private mutating func add(_ test: AttentionCase, _ qkv: [Double], _ d: [Double], _ sample: Int, _ head: Int) {
    let (tokens, size) = (test.tokens, test.size)
    let u = LayerHarness.u
    let scale = 1 / Double(size).squareRoot()
    let at = { (part: Int, f: Int, t: Int) in
      test.input.index(sample, (part * test.heads + head) * size + f, t)
    }
    let out = { (f: Int, t: Int) in test.output.index(sample, head * size + f, t) }
    for i in 0..<tokens {
      var scores = [Double](repeating: 0, count: tokens)
      var largest = 0.0
      for j in 0..<tokens {
        var magnitude = 0.0
        for f in 0..<size {
          scores[j] += qkv[at(0, f, i)] * qkv[at(1, f, j)] * scale
          magnitude += abs(qkv[at(0, f, i)] * qkv[at(1, f, j)]) * scale
        }
        largest = max(largest, magnitude)
      }
      let maximum = scores.max()!
      let powers = scores.map { exp($0 - maximum) }
      let sum = powers.reduce(0, +)
      let probabilities = powers.map { $0 / sum }
      // A score's error is that of its products' sum; it reaches every probability through the maximum and the sum.
      let weight = 2 * Double(size + 4) * u * largest + Double(tokens + 12) * u
      var slopes = [Double](repeating: 0, count: tokens)
      var slopeMagnitudes = slopes
      for j in 0..<tokens {
        for f in 0..<size {
          let v = qkv[at(2, f, j)]
          y[out(f, i)] += probabilities[j] * v
          yBound[out(f, i)] += (weight + Double(tokens) * u) * abs(probabilities[j] * v)
          slopes[j] += d[out(f, i)] * v
          slopeMagnitudes[j] += abs(d[out(f, i)] * v)
          gradient[at(2, f, j)] += probabilities[j] * d[out(f, i)]
          gradientBound[at(2, f, j)] += (weight + Double(tokens) * u) * abs(probabilities[j] * d[out(f, i)])
        }
      }
      let mean = zip(probabilities, slopes).reduce(0) { $0 + $1.0 * $1.1 }
      let meanMagnitude = zip(probabilities, slopeMagnitudes).reduce(0) { $0 + $1.0 * $1.1 }
      let slopeWeight = 2 * weight + Double(size + 2 * tokens + 8) * u
      for j in 0..<tokens {
        let slope = probabilities[j] * (slopes[j] - mean) * scale
        let magnitude = probabilities[j] * (slopeMagnitudes[j] + meanMagnitude) * scale
        for f in 0..<size {
          gradient[at(0, f, i)] += slope * qkv[at(1, f, j)]
          gradientBound[at(0, f, i)] += slopeWeight * magnitude * abs(qkv[at(1, f, j)])
          gradient[at(1, f, j)] += slope * qkv[at(0, f, i)]
          gradientBound[at(1, f, j)] += slopeWeight * magnitude * abs(qkv[at(0, f, i)])
        }
      }
    }
  }
}

@Suite struct AttentionTests {
  @Test(arguments: AttentionCase.all + AttentionCase.extreme)
  func forwardAndBackwardMatchTheDefinition(_ test: AttentionCase) {
    let oracle = AttentionOracle(test)
    let real = test.output.count
    // A probability that vanishes in Float is still there in Double.
    let tiny = 1e-30
    for values in LayerHarness.outputs({ test.run($0, $1, guarding: $1 % 2 == 0 ? .before : .behind) }) {
      let y = values.prefix(real).enumerated().map { test.output.isPadding($0) ? 0 : $1 }
      LayerHarness.expectClose(y, oracle.y) { oracle.yBound[$0] + tiny }
      let finite = values.allSatisfy { $0.isFinite }
      #expect(finite)
      let gradient = Array(values.dropFirst(real))
      LayerHarness.expectClose(gradient, oracle.gradient) { oracle.gradientBound[$0] + tiny }
      let part = test.heads * test.size
      for which in 0..<3 where test.tokens > 1 || which == 2 {
        let moves = gradient.indices.contains {
          $0 / test.lanes % (3 * part) / part == which && abs(gradient[$0]) > 1e-4
        }
        #expect(moves, "part \(which) is zero")
      }
      let clean = gradient.indices.allSatisfy { !test.input.isPadding($0) || gradient[$0] == 0 }
      #expect(clean)
    }
  }

  @Test func notANumberReachesTheOutput() {
    for isa in LayerHarness.isas {
      for lanes in LayerShape.allLanes {
        var shape = esp_attention_shape(blocks: 1, heads: 1, size: 2, tokens: 3, lanes: lanes)
        var qkv = [Float](repeating: 0.5, count: 18 * lanes)
        qkv[0] = .nan  // feature 0 of query 0, lane 0
        var y = LayerHarness.nans(6 * lanes)
        var statistics = y
        var workspace = LayerHarness.nans(esp_attention_forward_workspace(&shape, 1))
        esp_attention_forward(isa, qkv, &shape, &y, &statistics, &workspace, 1)
        #expect(y[0].isNaN && y[lanes].isNaN)
        let count = y.filter { $0.isNaN }.count
        #expect(count == 2)
      }
    }
  }
}
