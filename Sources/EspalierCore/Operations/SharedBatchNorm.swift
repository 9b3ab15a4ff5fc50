import EspLayers

extension Tape {
  /// Batch norm in training where ranks share the batch: statistics, and the sums that the input's gradient needs, are those of all
  /// samples, in the order of ranks.
  ///
  /// Two messages a pass, of two numbers a channel: mean and variance forward, the gradients of scale and shift backward. The gradients of
  /// scale and shift that remain are this rank's part of them.
  func sharedBatchNorm(
    _ x: Variable, _ state: BatchNormState, relu: Bool, adding residual: Variable?, output: Activations,
    _ ranks: RankGroup
  ) -> Variable {
    let (context, shape, input) = (context, x.shape, x.value)
    let moments = context.pool.workspace(count: 2 * shape.channels)
    let (mean, variance) = (moments.pointer, moments.pointer + shape.channels)
    state.withNorm(shape, relu: relu, context.pool) { norm, workspace in
      esp_batch_norm_moments(
        context.isa, norm, input.pointer, mean, variance, workspace, context.threadCount)
    }
    let count = ranks.mergeMoments(mean: mean, variance: variance, channels: shape.channels, of: shape)
    withUnsafePointer(to: state.norm(shape, relu: relu)) { norm in
      esp_batch_norm_forward(
        context.isa, norm, input.pointer, residual?.value.pointer, mean, variance, output.pointer, context.threadCount)
    }
    state.updateRunningStatistics(mean: mean, variance: variance, count: count)
    let masks = relu && residual != nil
    return record(output, inputs: [x] + (residual.map { [$0] } ?? [])) { delta in
      var gradient = context.pool.activations(shape)
      let residualGradient = masks ? context.pool.activations(shape) : nil
      let sums = context.pool.workspace(count: shape.channels)
      let (scale, shift) = (state.scale.gradient, state.shift.gradient)
      let (mean, variance) = (moments.pointer, moments.pointer + shape.channels)
      state.withNorm(shape, relu: relu, context.pool) { norm, workspace in
        let y = masks ? output.pointer : nil
        esp_batch_norm_reduce(
          context.isa, norm, input.pointer, y, delta.pointer, mean, variance, residualGradient?.pointer, scale.pointer,
          shift.pointer, workspace, context.threadCount)
        let parts = ranks.gather(Array(scale.buffer) + Array(shift.buffer), for: .statistics)
        let totals = (0..<2 * shape.channels).map { c in parts.reduce(0) { $0 + Double($1[c]) } }
        totals.withUnsafeBufferPointer { totals in
          esp_batch_norm_correct(
            context.isa, norm, input.pointer, y, delta.pointer, mean, variance, totals.baseAddress,
            totals.baseAddress! + shape.channels, count, gradient.pointer, residualGradient?.pointer, sums.pointer,
            workspace, context.threadCount)
        }
      }
      gradient.channelSums = sums
      return [gradient, residualGradient ?? delta]
    }
  }
}

extension RankGroup {
  /// Replaces each channel's mean and biased variance of this rank's samples by those of all (Chan et al. 1983); returns how many numbers a
  /// channel these are.
  fileprivate func mergeMoments(
    mean: UnsafeMutablePointer<Float>, variance: UnsafeMutablePointer<Float>, channels: Int, of shape: ActivationShape
  ) -> Int {
    // Numbers of samples, at most 65,536, are exact in Float.
    let own = [Float(shape.samples)] + (0..<channels).map { mean[$0] } + (0..<channels).map { variance[$0] }
    let all = gather(own, for: .statistics)
    for c in 0..<channels {
      var (total, center, squares) = (0.0, 0.0, 0.0)
      for part in all {
        let n = Double(part[0])
        let distance = Double(part[1 + c]) - center
        squares += Double(part[1 + channels + c]) * n + distance * distance * (total * n / (total + n))
        center += distance * (n / (total + n))
        total += n
      }
      mean[c] = Float(center)
      variance[c] = Float(squares / total)
    }
    return all.reduce(0) { $0 + Int($1[0]) } * shape.positions
  }
}
