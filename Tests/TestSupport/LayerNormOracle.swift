/// Batch normalisation in Double, by its definition.
public struct LayerNormOracle {
  public let shape: LayerShape
  public let epsilon: Double
  public let relu: Bool

  public init(shape: LayerShape, epsilon: Double, relu: Bool) {
    self.shape = shape
    self.epsilon = epsilon
    self.relu = relu
  }

  public func statistics(_ x: [Double], channel: Int) -> (mean: Double, variance: Double) {
    let elements = shape.elements(ofChannel: channel)
    let mean = elements.reduce(0) { $0 + x[$1] } / Double(elements.count)
    let variance = elements.reduce(0) { $0 + (x[$1] - mean) * (x[$1] - mean) } / Double(elements.count)
    return (mean, variance)
  }

  public func output(_ x: Double, mean: Double, variance: Double, scale: Double, shift: Double) -> Double {
    let y = scale * (x - mean) / (variance + epsilon).squareRoot() + shift
    return relu && y < 0 ? 0 : y
  }

  /// One channel's sum of d * y, with the statistics of x itself: what central differences differentiate.
  public func objective(_ x: [Double], _ d: [Double], channel: Int, scale: Double, shift: Double) -> Double {
    let (mean, variance) = statistics(x, channel: channel)
    return shape.elements(ofChannel: channel).reduce(0) {
      $0 + d[$1] * output(x[$1], mean: mean, variance: variance, scale: scale, shift: shift)
    }
  }

  public struct Gradients {
    public var input: [Double]
    /// The same with every term's magnitude, for bounds.
    public var inputMagnitude: [Double]
    public var scale, scaleMagnitude, shift, shiftMagnitude: [Double]
  }

  /// Gradients of the sum of d * y where `passes` says which outputs the activation lets through.
  public func gradients(
    _ x: [Double], _ d: [Double], mean: [Double], variance: [Double], scale: [Double], passes: [Bool]
  ) -> Gradients {
    let zeros = [Double](repeating: 0, count: shape.channels)
    var result = Gradients(
      input: [Double](repeating: 0, count: shape.count), inputMagnitude: [Double](repeating: 0, count: shape.count),
      scale: zeros, scaleMagnitude: zeros, shift: zeros, shiftMagnitude: zeros)
    for c in 0..<shape.channels {
      let elements = shape.elements(ofChannel: c)
      let n = Double(elements.count)
      let deviation = (variance[c] + epsilon).squareRoot()
      for e in elements where passes[e] {
        let normal = (x[e] - mean[c]) / deviation
        result.shift[c] += d[e]
        result.shiftMagnitude[c] += abs(d[e])
        result.scale[c] += d[e] * normal
        result.scaleMagnitude[c] += abs(d[e] * normal)
      }
      for e in elements {
        let normal = (x[e] - mean[c]) / deviation
        let g = passes[e] ? d[e] : 0
        result.input[e] = scale[c] / deviation * (g - result.shift[c] / n - normal * result.scale[c] / n)
        result.inputMagnitude[e] =
          abs(scale[c]) / deviation
          * (abs(g) + result.shiftMagnitude[c] / n + abs(normal) * result.scaleMagnitude[c] / n)
      }
    }
    return result
  }
}
