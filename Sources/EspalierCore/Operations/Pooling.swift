import EspLayers

/// A pooling window: size, stride and padding in pixels.
public struct PoolGeometry: Sendable, Hashable {
  /// Pixels along each side of a window.
  public let kernel: Int
  /// Pixels from one window to the next, both ways.
  public let stride: Int
  /// Pixels around the image that windows may overlap.
  public let padding: Int

  /// - Parameters:
  ///   - kernel: pixels along each side of a window.
  ///   - stride: the kernel's size where nil, as in PyTorch.
  ///   - padding: at most half of the kernel.
  public init(kernel: Int, stride: Int? = nil, padding: Int = 0) {
    self.kernel = kernel
    self.stride = stride ?? kernel
    self.padding = padding
  }

  /// - Throws: `EspalierError.usage` where the window does not fit or is padded by more than half.
  public func outputSize(height: Int, width: Int) throws -> (height: Int, width: Int) {
    guard kernel > 0, stride > 0, padding >= 0, 2 * padding <= kernel,
      height + 2 * padding >= kernel, width + 2 * padding >= kernel
    else {
      throw EspalierError.usage(
        "pooling: kernel \(kernel), stride \(stride), padding \(padding) does not fit an image of \(height) x \(width)")
    }
    return ((height + 2 * padding - kernel) / stride + 1, (width + 2 * padding - kernel) / stride + 1)
  }

  fileprivate func kernelShape(_ input: ActivationShape) throws -> esp_pool_shape {
    try input.requireOneToken("pooling")
    let (height, width) = try outputSize(height: input.height, width: input.width)
    return esp_pool_shape(
      in_height: input.height, in_width: input.width, out_height: height, out_width: width, kernel: kernel,
      stride: stride, padding: padding)
  }
}

extension Tape {
  /// The maximum of each window; the gradient goes to the first maximum in row order, as in PyTorch.
  public func maxPool(_ x: Variable, _ geometry: PoolGeometry) throws -> Variable {
    let context = context
    let input = x.value
    var shape = try geometry.kernelShape(x.shape)
    let output = context.pool.activations(
      x.shape.with(channels: x.shape.channels, height: shape.out_height, width: shape.out_width))
    let planes = x.shape.blocks * x.shape.channels
    esp_max_pool_forward(
      context.isa, input.pointer, &shape, planes, x.shape.lanes, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { [shape] delta in
      let gradient = context.pool.activations(input.shape)
      withUnsafePointer(to: shape) {
        esp_max_pool_backward(
          context.isa, input.pointer, output.pointer, delta.pointer, $0, planes, input.shape.lanes, gradient.pointer,
          context.threadCount)
      }
      return [gradient]
    }
  }

  /// The mean of each window, padding counted, as in PyTorch.
  public func averagePool(_ x: Variable, _ geometry: PoolGeometry) throws -> Variable {
    let context = context
    let inputShape = x.shape
    var shape = try geometry.kernelShape(inputShape)
    let output = context.pool.activations(
      inputShape.with(channels: inputShape.channels, height: shape.out_height, width: shape.out_width))
    let planes = inputShape.blocks * inputShape.channels
    esp_average_pool_forward(
      context.isa, x.value.pointer, &shape, planes, inputShape.lanes, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { [shape] delta in
      let gradient = context.pool.activations(inputShape)
      withUnsafePointer(to: shape) {
        esp_average_pool_backward(
          context.isa, delta.pointer, $0, planes, inputShape.lanes, gradient.pointer, context.threadCount)
      }
      return [gradient]
    }
  }

  /// The mean of each of `height` x `width` equal shares of an image, whatever its size (PyTorch's adaptive average pooling):
  /// output row i sees rows floor(i * h / height) ..< ceil((i + 1) * h / height), columns alike.
  ///
  /// - Throws: `EspalierError.usage` for tokens or a size that is not positive.
  public func adaptiveAveragePool(_ x: Variable, height: Int, width: Int) throws -> Variable {
    let inputShape = x.shape
    try inputShape.requireOneToken("pooling")
    guard height > 0, width > 0 else {
      throw EspalierError.usage("pooling: an output of \(height) x \(width); expected positive sizes")
    }
    guard (inputShape.height, inputShape.width) != (height, width) else { return x }
    let context = context
    let planes = inputShape.blocks * inputShape.channels
    let shape = esp_pool_shape(
      in_height: inputShape.height, in_width: inputShape.width, out_height: height, out_width: width, kernel: 0,
      stride: 0, padding: 0)
    let output = context.pool.activations(inputShape.with(channels: inputShape.channels, height: height, width: width))
    withUnsafePointer(to: shape) {
      esp_adaptive_average_pool_forward(
        context.isa, x.value.pointer, $0, planes, inputShape.lanes, output.pointer, context.threadCount)
    }
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(inputShape)
      withUnsafePointer(to: shape) {
        esp_adaptive_average_pool_backward(
          context.isa, delta.pointer, $0, planes, inputShape.lanes, gradient.pointer, context.threadCount)
      }
      return [gradient]
    }
  }

  /// Each channel's mean over all positions, or over all tokens: [samples, channels].
  public func globalAveragePool(_ x: Variable) -> Variable {
    guard x.shape.tokens == 1 else { return meanOfTokens(x) }
    let context = context
    let shape = x.shape
    let planes = shape.blocks * shape.channels
    let output = context.pool.activations(shape.with(channels: shape.channels))
    esp_global_average_forward(
      context.isa, x.value.pointer, planes, shape.positions, shape.lanes, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(shape)
      esp_global_average_backward(
        context.isa, delta.pointer, planes, shape.positions, shape.lanes, gradient.pointer, context.threadCount)
      return [gradient]
    }
  }
}
