import EspLayers

extension Tape {
  /// y = max(x, 0); dx = dy where y > 0.
  public func relu(_ x: Variable) -> Variable {
    let context = context
    let input = x.value
    let output = context.pool.activations(x.shape)
    esp_relu_forward(context.isa, input.pointer, x.shape.count, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(delta.shape)
      esp_relu_backward(
        context.isa, output.pointer, delta.pointer, delta.shape.count, gradient.pointer, context.threadCount)
      return [gradient]
    }
  }

  /// y = a + b; the gradient goes to both.
  public func add(_ a: Variable, _ b: Variable) -> Variable {
    precondition(a.shape == b.shape)
    return record(sum(a.value, b.value), inputs: [a, b]) { [$0, $0] }
  }

  /// A new sum of two equal shapes.
  func sum(_ a: Activations, _ b: Activations) -> Activations {
    let result = context.pool.activations(a.shape)
    esp_add(context.isa, a.pointer, b.pointer, a.shape.count, result.pointer, context.threadCount)
    return result
  }

  /// Inverted dropout: zero with `probability`, else x / (1 - probability); the identity in evaluation.
  ///
  /// - Parameters:
  ///   - x: of any shape.
  ///   - probability: 0 ..< 1.
  ///   - index: the layer's number among the model's dropouts: with the step and the random seed it fixes the mask, which is drawn again
  ///     in backward instead of being kept.
  ///   - random: draws the mask.
  public func dropout(_ x: Variable, probability: Float, index: Int, random: CounterRandom) -> Variable {
    guard case .training(let step) = mode, probability > 0 else { return x }
    let (context, firstSample) = (context, firstSample)
    let key = random.stream(.dropout, layer: index, step: step).key
    func masked(_ input: Activations) -> Activations {
      let output = context.pool.activations(input.shape)
      let shape = input.shape
      esp_dropout(
        context.isa, key, probability, input.pointer, firstSample, shape.sampleBlocks, shape.tokens * shape.features,
        shape.lanes, output.pointer, context.threadCount)
      return output
    }
    return record(masked(x.value), inputs: [x]) { [masked($0)] }
  }

  /// [samples, tokens, channels, height, width] as [samples, tokens * channels * height * width]: the same numbers.
  public func flatten(_ x: Variable) -> Variable {
    let shape = x.shape
    return record(x.value.reshaped(channels: shape.tokens * shape.features), inputs: [x]) {
      [$0.reshaped(tokens: shape.tokens, channels: shape.channels, height: shape.height, width: shape.width)]
    }
  }
}
