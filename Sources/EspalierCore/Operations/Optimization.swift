import EspLayers
import Glibc

extension ComputeContext {
  /// One step of PyTorch's SGD on `values.count` numbers: g += wd * w; v = mu * v + g; w -= lr * v.
  public func sgd(
    _ values: UnsafeMutableBufferPointer<Float>, gradient: UnsafePointer<Float>, velocity: UnsafeMutablePointer<Float>,
    learningRate: Float, momentum: Float, weightDecay: Float
  ) {
    esp_sgd(
      isa, values.baseAddress, gradient, velocity, values.count, learningRate, momentum, weightDecay, threadCount)
  }

  /// One step of PyTorch's AdamW on `values.count` numbers: w *= 1 - lr * wd; m += (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g^2;
  /// w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon).
  public func adamW(
    _ values: UnsafeMutableBufferPointer<Float>, gradient: UnsafePointer<Float>, first: UnsafeMutablePointer<Float>,
    second: UnsafeMutablePointer<Float>, step: Int, learningRate: Double, beta1: Double, beta2: Double,
    epsilon: Double, weightDecay: Double
  ) {
    var rule = esp_adamw(
      keep: Float(1 - learningRate * weightDecay), gain1: Float(1 - beta1), beta2: Float(beta2),
      gain2: Float(1 - beta2), step_size: Float(learningRate / (1 - pow(beta1, Double(step)))),
      root_correction: Float((1 - pow(beta2, Double(step))).squareRoot()), epsilon: Float(epsilon))
    esp_adamw_step(isa, &rule, gradient, values.count, values.baseAddress, first, second, threadCount)
  }

  /// The sum of squares, in Double and in an order that depends on their number alone.
  public func squareSum(_ values: MeteredBuffer<Float>) -> Double {
    esp_square_sum(isa, values.pointer, values.count, threadCount)
  }

  /// values *= factor
  public func scale(_ values: MeteredBuffer<Float>, by factor: Float) {
    esp_scale(isa, factor, values.count, values.pointer, threadCount)
  }

  /// values += others
  public func add(_ others: MeteredBuffer<Float>, to values: MeteredBuffer<Float>) {
    precondition(values.count == others.count)
    esp_add(isa, values.pointer, others.pointer, values.count, values.pointer, threadCount)
  }

  /// Whether every number is finite.
  public func allFinite(_ values: MeteredBuffer<Float>) -> Bool {
    allFinite(UnsafeBufferPointer(values.buffer))
  }

  /// Whether every number is finite.
  public func allFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
    esp_all_finite(isa, values.baseAddress, values.count, threadCount) != 0
  }
}
