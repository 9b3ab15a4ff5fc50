import EspLayers
import TestSupport
import Testing

@Suite struct ElementwiseTests {
  static let sizes = [0, 1, 7, 8, 9, 31, 33, 1000]

  static func signed(_ count: Int, seed: UInt64) -> [Float] {
    var random = LayerRandom(seed: seed)
    return random.floats(count)
  }

  @Test(arguments: sizes)
  func reluKeepsThePositive(n: Int) {
    let x = Self.signed(n, seed: 1)
    let values = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(n)
      esp_relu_forward(isa, x, n, &y, threads)
      return y
    }
    for y in values { #expect(y == x.map { $0 > 0 ? $0 : 0 }) }
  }

  @Test func reluPassesNotANumber() {
    var x = [Float](repeating: -1, count: 40)
    x[3] = .nan
    x[39] = .nan
    x[5] = -.infinity
    x[6] = .infinity
    for isa in LayerHarness.isas {
      var y = LayerHarness.nans(40)
      esp_relu_forward(isa, x, 40, &y, 1)
      for i in 0..<40 { #expect(i == 3 || i == 39 ? y[i].isNaN : y[i] == max(x[i], 0)) }
    }
  }

  @Test(arguments: sizes)
  func reluBackwardPassesWhereTheOutputIsPositive(n: Int) {
    let y = Self.signed(n, seed: 2).map { max($0, 0) }
    let d = Self.signed(n, seed: 3)
    let values = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(n)
      esp_relu_backward(isa, y, d, n, &dx, threads)
      return dx
    }
    for dx in values { #expect(dx == zip(y, d).map { $0 > 0 ? $1 : 0 }) }
  }

  @Test(arguments: sizes)
  func addTakesNewOrOldMemory(n: Int) {
    let (a, b) = (Self.signed(n, seed: 4), Self.signed(n, seed: 5))
    let new = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(n)
      esp_add(isa, a, b, n, &y, threads)
      return y
    }
    let old = LayerHarness.outputs { isa, threads in
      var y = a
      y.withUnsafeMutableBufferPointer { esp_add(isa, $0.baseAddress, b, n, $0.baseAddress, threads) }
      return y
    }
    for y in new + old { #expect(y == zip(a, b).map { $0 + $1 }) }
  }

  @Test(arguments: LayerShape.allLanes)
  func biasGradientSumsTheChannel(lanes: Int) {
    for positions in [1, 7, 64] {
      let shape = LayerShape(channels: 5, positions: positions, samples: 33, lanes: lanes)
      let d = shape.padded(Self.signed(shape.count, seed: 6), with: 0)
      let sums = (0..<5).map { c in shape.elements(ofChannel: c).reduce(0.0) { $0 + Double(d[$1]) } }
      let values = LayerHarness.outputs { isa, threads in
        var gradient = LayerHarness.nans(5)
        esp_bias_gradient(isa, d, shape.blocks, 5, positions, lanes, &gradient, threads)
        return gradient
      }
      // Summed in double, rounded once.
      for gradient in values {
        LayerHarness.expectClose(gradient, sums) { 1.01 * LayerHarness.u * abs(sums[$0]) + 1e-13 }
      }
    }
  }
}

@Suite struct ElementwiseDropoutTests {
  static let key = esp_random_key(seed: 99, stream: 7 << 23, step: 5)

  static func dropout(_ x: [Float], _ shape: LayerShape, _ probability: Float, _ key: esp_random_key = key) -> [[Float]]
  {
    LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(shape.count)
      esp_dropout(isa, key, probability, x, 0, shape.blocks, shape.channels, shape.lanes, &y, threads)
      return y
    }
  }

  /// The stream's number in [0, 1): 24 bits of word index % 4 of Philox block index / 4.
  static func uniformNumber(_ index: UInt64) -> Double {
    let block = index / 4
    let counter = [UInt32(truncatingIfNeeded: block), UInt32(block >> 32), key.step, key.stream]
    var words = [UInt32](repeating: 0, count: 4)
    esp_philox4x32(counter, [UInt32(truncatingIfNeeded: key.seed), UInt32(key.seed >> 32)], &words)
    return Double(words[Int(index % 4)] >> 8) / 16_777_216
  }

  @Test(arguments: LayerShape.allLanes, [0, 0.1, 0.5, 0.9] as [Float])
  func everyElementFollowsItsNumber(lanes: Int, probability: Float) {
    let shape = LayerShape(channels: 75, positions: 1, samples: 33, lanes: lanes)
    let x = ElementwiseTests.signed(shape.count, seed: 8)
    for y in Self.dropout(x, shape, probability) {
      for sample in 0..<33 {
        for feature in 0..<75 {
          let number = Self.uniformNumber(UInt64(sample * 75 + feature))
          let e = shape.index(sample, feature, 0)
          let expected = number >= Double(probability) ? Double(x[e]) / (1 - Double(probability)) : 0
          #expect(abs(Double(y[e]) - expected) <= 3 * LayerHarness.u * abs(expected))
        }
      }
    }
  }

  @Test func theMaskDoesNotDependOnLanes() {
    let masks = LayerShape.allLanes.map { lanes in
      let shape = LayerShape(channels: 50, positions: 1, samples: 64, lanes: lanes)
      let y = Self.dropout([Float](repeating: 1, count: shape.count), shape, 0.3)[0]
      return (0..<64).flatMap { sample in (0..<50).map { y[shape.index(sample, $0, 0)] } }
    }
    for mask in masks.dropFirst() { #expect(mask == masks[0]) }
  }

  @Test(arguments: [0.05, 0.5, 0.8] as [Float])
  func theFractionKeptIsBinomial(probability: Float) {
    let shape = LayerShape(channels: 1000, positions: 1, samples: 64, lanes: 32)
    let y = Self.dropout([Float](repeating: 1, count: shape.count), shape, probability)[0]
    let p = 1 - Double(probability)
    let n = Double(shape.count)
    #expect(abs(Double(y.count { $0 != 0 }) - n * p) < 4 * (n * p * (1 - p)).squareRoot())
  }

  @Test func anotherStepDrawsAnotherMask() {
    let shape = LayerShape(channels: 100, positions: 1, samples: 8, lanes: 8)
    let x = [Float](repeating: 1, count: shape.count)
    var other = Self.key
    other.step += 1
    #expect(Self.dropout(x, shape, 0.5)[0] != Self.dropout(x, shape, 0.5, other)[0])
  }
}
