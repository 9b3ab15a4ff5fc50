import EspLayers

/// The trained and running state of a batch normalisation over `channels` channels.
public final class BatchNormState {
  public let name: String
  /// gamma, starts at one.
  public let scale: VectorParameter
  /// beta, starts at zero.
  public let shift: VectorParameter
  public let runningMean: MeteredBuffer<Float>
  /// Unbiased, as PyTorch keeps it.
  public let runningVariance: MeteredBuffer<Float>
  /// Weight of a new batch in the running statistics.
  public static let momentum: Float = 0.1
  public static let epsilon: Float = 1e-5

  public init(name: String, channels: Int, meter: AllocationMeter) {
    self.name = name
    scale = VectorParameter(name: name + ".weight", count: channels, value: 1, meter: meter)
    shift = VectorParameter(name: name + ".bias", count: channels, meter: meter)
    runningMean = .zeros(count: channels, tag: .vector, site: nil, meter: meter)
    runningVariance = MeteredBuffer(count: channels, tag: .vector, site: nil, meter: meter)
    runningVariance.buffer.update(repeating: 1)
  }

  public var channels: Int { scale.count }

  fileprivate func updateRunningStatistics(mean: UnsafePointer<Float>, variance: UnsafePointer<Float>, count: Int) {
    let unbiased = count > 1 ? Float(Double(count) / Double(count - 1)) : 1
    for c in 0..<channels {
      runningMean.pointer[c] += Self.momentum * (mean[c] - runningMean.pointer[c])
      runningVariance.pointer[c] += Self.momentum * (variance[c] * unbiased - runningVariance.pointer[c])
    }
  }
}

extension Tape {
  /// y = act(scale * (x - mean) / sqrt(variance + 1e-5) + shift) by channel, act = ReLU where `relu` (Ioffe & Szegedy 2015).
  ///
  /// In training mean and variance are the batch's and the running statistics move; else they are the running ones.
  public func batchNorm(_ x: Variable, _ state: BatchNormState, relu: Bool = false) throws -> Variable {
    guard x.shape.channels == state.channels else {
      throw EspalierError.usage("\(state.name): expected \(state.channels) channels, found \(x.shape.channels)")
    }
    let context = context
    let input = x.value
    let shape = x.shape
    let output = context.pool.activations(shape)
    let moments = context.pool.workspace(count: 2 * shape.channels)
    let mean = isTraining ? moments.pointer : state.runningMean.pointer
    let variance = isTraining ? moments.pointer + shape.channels : state.runningVariance.pointer
    if isTraining {
      esp_batch_norm_statistics(
        context.isa, input.pointer, shape.channels, shape.positions, shape.samples, shape.lanes, mean, variance,
        context.threadCount)
      state.updateRunningStatistics(mean: mean, variance: variance, count: shape.samples * shape.positions)
    }
    esp_batch_norm_forward(
      context.isa, input.pointer, mean, variance, state.scale.values.pointer, state.shift.values.pointer,
      BatchNormState.epsilon, relu ? 1 : 0, shape.channels, shape.positions, shape.samples, shape.lanes,
      output.pointer, context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(shape)
      esp_batch_norm_backward(
        context.isa, input.pointer, delta.pointer, moments.pointer, moments.pointer + shape.channels,
        state.scale.values.pointer, state.shift.values.pointer, BatchNormState.epsilon, relu ? 1 : 0, shape.channels,
        shape.positions, shape.samples, shape.lanes, gradient.pointer, state.scale.gradient.pointer,
        state.shift.gradient.pointer, context.threadCount)
      return [gradient]
    }
  }
}
