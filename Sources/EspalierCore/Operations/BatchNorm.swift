import EspLayers

/// The trained and running state of a batch normalisation over `channels` channels.
public final class BatchNormState {
  /// Prefix of its parameters' names.
  public let name: String
  /// gamma, starts at one.
  public let scale: VectorParameter
  /// beta, starts at zero.
  public let shift: VectorParameter
  /// [channels], starts at zero.
  public let runningMean: MeteredBuffer<Float>
  /// Unbiased, as PyTorch keeps it.
  public let runningVariance: MeteredBuffer<Float>
  /// Weight of a new batch in the running statistics.
  public static let momentum: Float = 0.1
  /// Is added to the variance.
  public static let epsilon: Float = 1e-5

  /// A norm that scales by one, shifts by zero and has seen no batch.
  public init(name: String, channels: Int, meter: AllocationMeter) {
    self.name = name
    scale = VectorParameter(name: name + ".weight", count: channels, value: 1, meter: meter)
    shift = VectorParameter(name: name + ".bias", count: channels, meter: meter)
    runningMean = .zeros(count: channels, tag: .vector, site: nil, meter: meter)
    runningVariance = MeteredBuffer(count: channels, tag: .vector, site: nil, meter: meter)
    runningVariance.buffer.update(repeating: 1)
  }

  /// Number of channels.
  public var channels: Int { scale.count }

  func updateRunningStatistics(mean: UnsafePointer<Float>, variance: UnsafePointer<Float>, count: Int) {
    let unbiased = count > 1 ? Float(Double(count) / Double(count - 1)) : 1
    for c in 0..<channels {
      runningMean.pointer[c] += Self.momentum * (mean[c] - runningMean.pointer[c])
      runningVariance.pointer[c] += Self.momentum * (variance[c] * unbiased - runningVariance.pointer[c])
    }
  }
}

extension Tape {
  /// y = act(scale * (x - mean) / sqrt(variance + 1e-5) + shift + residual) by channel, act = ReLU where `relu` (Ioffe & Szegedy
  /// 2015), the residual zero where nil.
  ///
  /// In training mean and variance are the batch's, over all of the tape's ranks where it has some, and the running statistics move; else
  /// they are the running ones.
  public func batchNorm(
    _ x: Variable, _ state: BatchNormState, relu: Bool = false, adding residual: Variable? = nil
  ) throws -> Variable {
    let shape = x.shape
    try shape.requireOneToken(state.name)
    guard shape.channels == state.channels else {
      throw EspalierError.usage("\(state.name): expected \(state.channels) channels, found \(shape.channels)")
    }
    guard residual.map({ $0.shape == shape }) ?? true else {
      throw EspalierError.usage("\(state.name): what is added must have the shape of what is normalised")
    }
    let context = context
    let input = x.value
    let output = context.pool.activations(shape)
    guard isTraining else {
      withUnsafePointer(to: state.norm(shape, relu: relu)) { norm in
        esp_batch_norm_forward(
          context.isa, norm, input.pointer, residual?.value.pointer, state.runningMean.pointer,
          state.runningVariance.pointer, output.pointer, context.threadCount)
      }
      return Variable(output)
    }
    if let ranks, ranks.size > 1 {
      return sharedBatchNorm(x, state, relu: relu, adding: residual, output: output, ranks)
    }
    let moments = context.pool.workspace(count: 2 * shape.channels)
    let (mean, variance) = (moments.pointer, moments.pointer + shape.channels)
    state.withNorm(shape, relu: relu, context.pool) { norm, workspace in
      esp_batch_norm_train(
        context.isa, norm, input.pointer, residual?.value.pointer, output.pointer, mean, variance, workspace,
        context.threadCount)
    }
    state.updateRunningStatistics(mean: mean, variance: variance, count: shape.samples * shape.positions)
    let masks = relu && residual != nil
    return record(output, inputs: [x] + (residual.map { [$0] } ?? [])) { delta in
      // What is written last takes delta's place where nobody else needs delta.
      let place = delta.isDisposable ? Activations(shape: shape, storage: delta.storage) : nil
      let residualGradient = masks ? place ?? context.pool.activations(shape) : nil
      let free = residual == nil ? place : nil
      var gradient = free ?? context.pool.activations(shape)
      let sums = context.pool.workspace(count: shape.channels)
      state.withNorm(shape, relu: relu, context.pool) { norm, workspace in
        esp_batch_norm_backward(
          context.isa, norm, input.pointer, masks ? output.pointer : nil, delta.pointer, moments.pointer,
          moments.pointer + shape.channels, gradient.pointer, residualGradient?.pointer,
          state.scale.gradient.pointer, state.shift.gradient.pointer, sums.pointer, workspace, context.threadCount)
      }
      gradient.channelSums = sums
      return [gradient, residualGradient ?? delta]
    }
  }
}

extension BatchNormState {
  /// What the kernels take; valid as long as the state lives.
  func norm(_ shape: ActivationShape, relu: Bool) -> esp_batch_norm {
    esp_batch_norm(
      channels: shape.channels, positions: shape.positions, samples: shape.samples, lanes: shape.lanes,
      scale: scale.values.pointer, shift: shift.values.pointer, epsilon: Self.epsilon, relu: relu ? 1 : 0)
  }

  /// The same with the kernels' workspace.
  func withNorm(
    _ shape: ActivationShape, relu: Bool, _ pool: ActivationPool,
    _ body: (UnsafePointer<esp_batch_norm>, UnsafeMutablePointer<Double>) -> Void
  ) {
    withUnsafePointer(to: norm(shape, relu: relu)) { norm in
      let doubles = esp_batch_norm_workspace(norm)
      pool.withWorkspace(count: 2 * doubles) { floats in
        UnsafeMutableRawPointer(floats).withMemoryRebound(to: Double.self, capacity: doubles) { body(norm, $0) }
      }
    }
  }
}
