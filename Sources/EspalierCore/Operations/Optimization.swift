import EspLayers

extension ComputeContext {
  /// One step of PyTorch's SGD on `values.count` numbers: g += wd * w; v = mu * v + g; w -= lr * v.
  public func sgd(
    _ values: UnsafeMutableBufferPointer<Float>, gradient: UnsafePointer<Float>, velocity: UnsafeMutablePointer<Float>,
    learningRate: Float, momentum: Float, weightDecay: Float
  ) {
    esp_sgd(
      isa, values.baseAddress, gradient, velocity, values.count, learningRate, momentum, weightDecay, threadCount)
  }

  /// Whether every number is finite.
  public func allFinite(_ values: MeteredBuffer<Float>) -> Bool {
    esp_all_finite(isa, values.pointer, values.count, threadCount) != 0
  }
}
