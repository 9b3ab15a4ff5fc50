import EspLayers

/// The trained state of a layer normalisation over `channels` channels.
public final class LayerNormState {
  /// Prefix of its parameters' names.
  public let name: String
  /// Starts at one.
  public let scale: VectorParameter
  /// Starts at zero.
  public let shift: VectorParameter
  /// Is added to the variance.
  public static let epsilon: Float = 1e-5

  /// A norm that scales by one and shifts by zero.
  public init(name: String, channels: Int, meter: AllocationMeter) {
    self.name = name
    scale = VectorParameter(name: name + ".weight", count: channels, value: 1, meter: meter)
    shift = VectorParameter(name: name + ".bias", count: channels, meter: meter)
  }

  /// Number of features that are normalised together.
  public var channels: Int { scale.count }
}

extension Tape {
  /// y = scale * (x - mean) / sqrt(variance + 1e-5) + shift, with mean and biased variance over the features of each token
  /// (Ba, Kiros & Hinton 2016).
  public func layerNorm(_ x: Variable, _ state: LayerNormState) throws -> Variable {
    let shape = x.shape
    guard shape.channels == state.channels, shape.positions == 1 else {
      throw EspalierError.usage("\(state.name): expected \(state.channels) features a token, found \(shape.features)")
    }
    let context = context
    let input = x.value
    let output = context.pool.activations(shape)
    let tokens = shape.blocks * shape.lanes
    let moments = context.pool.workspace(count: 2 * tokens)
    esp_layer_norm_forward(
      context.isa, input.pointer, state.scale.values.pointer, state.shift.values.pointer, LayerNormState.epsilon,
      shape.samples, shape.channels, shape.tokens, shape.lanes, output.pointer, moments.pointer,
      moments.pointer + tokens, context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(shape)
      let doubles = esp_layer_norm_workspace(shape.samples, shape.channels, shape.tokens, shape.lanes)
      context.pool.withDoubles(count: doubles) {
        esp_layer_norm_backward(
          context.isa, input.pointer, delta.pointer, state.scale.values.pointer, moments.pointer,
          moments.pointer + tokens, shape.samples, shape.channels, shape.tokens, shape.lanes, gradient.pointer,
          state.scale.gradient.pointer, state.shift.gradient.pointer, $0, context.threadCount)
      }
      return [gradient]
    }
  }
}
