import EspLayers

extension Tape {
  /// y = x * P(x), P the normal distribution's cumulative function (Hendrycks & Gimpel 2016), exact;
  /// dx = dy * (P(x) + x * P'(x)).
  public func gelu(_ x: Variable) -> Variable {
    let context = context
    let input = x.value
    let output = context.pool.activations(x.shape)
    esp_gelu_forward(context.isa, input.pointer, x.shape.count, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(delta.shape)
      esp_gelu_backward(
        context.isa, input.pointer, delta.pointer, delta.shape.count, gradient.pointer, context.threadCount)
      return [gradient]
    }
  }
}
