import EspLayers
import Foundation
import TestSupport
import Testing

@Suite struct GeluTests {
  /// Dense where the function bends, tails on both sides, and the largest and smallest numbers.
  static let inputs: [Float] = {
    let dense = (-56_000...56_000).map { Float($0) / 4000 }
    let powers: [Float] = (-160...120).map { exp2(Float($0) / 4) }
    let ends: [Float] = [0, -0.0, 3e38, -3e38, .leastNonzeroMagnitude, -.leastNonzeroMagnitude]
    return dense + powers + powers.map { -$0 } + ends
  }()

  static func cumulative(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }
  static func density(_ x: Double) -> Double { exp(-x * x / 2) / (2 * Double.pi).squareRoot() }

  /// What may be lost where a factor is below the smallest normal number.
  static func vanishing(_ x: Double) -> Double { 2 * Double(Float.leastNormalMagnitude) * (abs(x) + 1) }

  @Test func forwardMatchesTheDefinition() {
    let x = Self.inputs
    let expected = x.map { Double($0) * Self.cumulative(Double($0)) }
    let outputs = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(x.count)
      esp_gelu_forward(isa, x, x.count, &y, threads)
      return y
    }
    for y in outputs {
      LayerHarness.expectClose(y, expected) { i in
        let units = x[i] >= 0 ? 5.0 : 9
        return units * LayerHarness.u * abs(expected[i]) + (x[i] > -12 ? 1e-44 : Self.vanishing(Double(x[i])))
      }
    }
  }

  @Test func backwardMatchesTheDefinition() {
    let x = Self.inputs
    var random = LayerRandom(seed: 5)
    let d = random.floats(x.count)
    let slopes = x.map { Self.cumulative(Double($0)) + Double($0) * Self.density(Double($0)) }
    let magnitudes = x.map { Self.cumulative(Double($0)) + abs(Double($0)) * Self.density(Double($0)) }
    let outputs = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(x.count)
      esp_gelu_backward(isa, x, d, x.count, &dx, threads)
      return dx
    }
    for dx in outputs {
      LayerHarness.expectClose(dx, zip(d, slopes).map { Double($0) * $1 }) { i in
        6 * LayerHarness.u * abs(Double(d[i])) * magnitudes[i]
          + (x[i] > -12 ? 1e-44 : Self.vanishing(Double(x[i])))
      }
    }
  }

  @Test func notANumberReachesTheOutput() {
    for isa in LayerHarness.isas {
      let x = [Float](repeating: .nan, count: 19)
      var y = [Float](repeating: 0, count: 19)
      esp_gelu_forward(isa, x, 19, &y, 1)
      #expect(y.filter { $0.isNaN }.count == 19)
      esp_gelu_backward(isa, x, [Float](repeating: 1, count: 19), 19, &y, 1)
      #expect(y.filter { $0.isNaN }.count == 19)
    }
  }
}
