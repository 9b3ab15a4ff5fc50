import EspLayers

extension Tape {
  /// y = softmax(q k' / sqrt(size)) v for each head, softmax over keys (Vaswani et al. 2017); between a sample's tokens.
  ///
  /// x [samples, tokens, 3 * heads * size]: queries head by head, then keys, then values; y [samples, tokens, heads * size]. Keeps two numbers a
  /// query and head for backward, which computes the probabilities again.
  public func attention(_ x: Variable, heads: Int, size: Int) throws -> Variable {
    let input = x.value
    let inputShape = x.shape
    guard heads > 0, size > 0, inputShape.channels == 3 * heads * size, inputShape.positions == 1 else {
      throw EspalierError.usage(
        "attention: expected tokens of \(3 * heads * size) features for \(heads) heads of \(size), found \(inputShape.channels) x \(inputShape.height) x \(inputShape.width)"
      )
    }
    let context = context
    let shape = esp_attention_shape(
      blocks: inputShape.sampleBlocks, heads: heads, size: size, tokens: inputShape.tokens, lanes: inputShape.lanes)
    let output = context.pool.activations(
      inputShape.with(channels: heads * size))
    let statistics = context.pool.workspace(count: shape.blocks * heads * 2 * shape.tokens * shape.lanes)
    withUnsafePointer(to: shape) { shape in
      context.pool.withWorkspace(count: esp_attention_forward_workspace(shape, context.threadCount)) {
        esp_attention_forward(
          context.isa, input.pointer, shape, output.pointer, statistics.pointer, $0, context.threadCount)
      }
    }
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(inputShape)
      withUnsafePointer(to: shape) { shape in
        context.pool.withWorkspace(count: esp_attention_backward_workspace(shape, context.threadCount)) {
          esp_attention_backward(
            context.isa, input.pointer, delta.pointer, statistics.pointer, shape, gradient.pointer, $0,
            context.threadCount)
        }
      }
      return [gradient]
    }
  }
}
