import EspSparseConv

/// How a convolution's kernel moves: size, stride and zero padding, in pixels.
public struct ConvolutionGeometry: Sendable, Hashable {
  /// Rows of the kernel.
  public let kernelHeight: Int
  /// Columns of the kernel.
  public let kernelWidth: Int
  /// Pixels from one window to the next, both ways.
  public let stride: Int
  /// Zeros around the image.
  public let padding: Int

  /// A kernel of its own height and width.
  public init(kernelHeight: Int, kernelWidth: Int, stride: Int = 1, padding: Int = 0) {
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.stride = stride
    self.padding = padding
  }

  /// A square kernel.
  public init(kernel: Int, stride: Int = 1, padding: Int = 0) {
    self.init(kernelHeight: kernel, kernelWidth: kernel, stride: stride, padding: padding)
  }

  /// Kernel positions: height * width.
  public var taps: Int { kernelHeight * kernelWidth }

  /// Output size of an input of `height` x `width` pixels.
  ///
  /// - Throws: `EspalierError.usage` where the kernel does not fit, or the padding is not smaller than the kernel.
  public func outputSize(height: Int, width: Int) throws -> (height: Int, width: Int) {
    guard kernelHeight > 0, kernelWidth > 0, stride > 0, padding >= 0, padding < min(kernelHeight, kernelWidth) else {
      throw EspalierError.usage(
        "convolution: kernel \(kernelHeight) x \(kernelWidth), stride \(stride), padding \(padding): kernel and stride must be positive and the padding smaller than the kernel"
      )
    }
    guard height + 2 * padding >= kernelHeight, width + 2 * padding >= kernelWidth else {
      throw EspalierError.usage(
        "convolution: a \(kernelHeight) x \(kernelWidth) kernel does not fit an image of \(height) x \(width) with padding \(padding)"
      )
    }
    return ((height + 2 * padding - kernelHeight) / stride + 1, (width + 2 * padding - kernelWidth) / stride + 1)
  }

  /// The geometry as kernels take it, for images of shape `input` and `outputs` channels.
  package func kernelShape(input: ActivationShape, outputs: Int) throws -> esp_conv_shape {
    try input.requireOneToken("convolution")
    let (height, width) = try outputSize(height: input.height, width: input.width)
    let padded = (input.height + 2 * kernelHeight) * (input.width + 2 * kernelWidth) * input.lanes
    guard max(input.channels, outputs) * padded * stride * stride <= Int(UInt32.max) else {
      throw EspalierError.usage(
        "convolution: \(input.channels) to \(outputs) channels of \(input.height) x \(input.width) are more than 32-bit offsets reach in a block of \(input.lanes) samples"
      )
    }
    return esp_conv_shape(
      in_channels: input.channels, in_height: input.height, in_width: input.width, out_channels: outputs,
      out_height: height, out_width: width, kernel_height: kernelHeight, kernel_width: kernelWidth, stride: stride,
      pad_top: padding, pad_left: padding, input_dilation: 1)
  }
}

extension Tape {
  /// y = W * x + b: a 2-D convolution (cross-correlation, as in PyTorch) with sparse W [outputs, channels * kernel height * width];
  /// x [samples, channels, height, width].
  ///
  /// Backward: dx by the same kernel through the transposed, flipped structure; dW at the active connections only.
  public func sparseConvolution(
    _ x: Variable, weight: SparseParameter, bias: VectorParameter?, geometry: ConvolutionGeometry
  ) throws -> Variable {
    let matrix = weight.matrix
    guard x.shape.channels * geometry.taps == matrix.columns, matrix.taps == geometry.taps else {
      throw EspalierError.usage(
        "\(matrix.name): expected \(matrix.columns / matrix.taps) channels and \(matrix.taps) kernel positions, found \(x.shape.channels) and \(geometry.taps)"
      )
    }
    let context = context
    let input = x.value
    let shape = try geometry.kernelShape(input: x.shape, outputs: matrix.rows)
    let output = context.pool.activations(
      x.shape.with(channels: matrix.rows, height: shape.out_height, width: shape.out_width))
    context.convolve(
      matrix.structure, matrix.values.pointer, bias: bias?.values.pointer, shape: shape, from: input, to: output)
    return recordAdding(output, inputs: [x]) { [unowned self] delta, present in
      if let bias { context.biasGradient(of: delta, into: bias) }
      let site = ConvolutionSite(parameter: weight, input: input, delta: delta, shape: shape, context: context)
      try show(site)
      let gradient = x.needsGradient ? context.pool.activations(input.shape) : nil
      context.convolveBack(
        through: matrix, shape: shape, input: input, delta: delta, base: present,
        weightGradient: computesSparseGradients ? weight.gradient.pointer : nil, into: gradient)
      if computesSparseGradients { measure(.weightGradient) { site.computeBackwardSetGradients() } }
      return [gradient]
    }
  }
}

private struct ConvolutionSite: GradientSite {
  let parameter: SparseParameter
  let input: Activations
  let delta: Activations
  let shape: esp_conv_shape
  let context: ComputeContext

  var positions: Int { delta.shape.positions }

  func computeGradients(at connections: SparseStructure, into gradients: MeteredBuffer<Float>) {
    precondition(gradients.count >= connections.count)
    context.weightGradient(at: connections, shape: shape, input: input, delta: delta.pointer, into: gradients)
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity {
    let matrix = parameter.matrix
    let activity = LayerActivity(of: matrix)
    context.withSigns(measure, of: delta.shape) { signs in
      context.sumActivity(of: delta, signs: signs, into: activity.outputs)
      if let signs {
        context.sumSignedWindows(of: input, shape: shape, signs: signs, of: matrix, into: activity.inputs)
      } else {
        context.sumWindows(of: input, shape: shape, into: activity.inputs)
      }
    }
    return activity
  }

  func activityFlops(_ measure: ActivityMeasure) -> Int {
    let outputs = 2 * delta.shape.features
    switch measure {
    case .magnitudes: return outputs + 2 * input.shape.features
    case .signed: return outputs + 2 * parameter.matrix.columns * positions
    }
  }
}

extension ComputeContext {
  /// Runs the convolution kernel with a workspace from the pool.
  fileprivate func convolve(
    _ structure: SparseStructure, _ values: UnsafePointer<Float>, bias: UnsafePointer<Float>?, shape: esp_conv_shape,
    from x: Activations, to y: Activations
  ) {
    withUnsafePointer(to: structure.csr) { csr in
      withUnsafePointer(to: shape) { shape in
        let floats = esp_sparse_conv_workspace(shape, structure.count, x.shape.lanes, threadCount)
        pool.withWorkspace(count: floats) { workspace in
          esp_sparse_conv_f32(
            isa, csr, values, bias, shape, x.shape.blocks, x.shape.lanes, x.pointer, y.pointer, workspace, threadCount)
        }
      }
    }
  }

  /// The weights' gradient at active connections and that of the input, `base` added to it; nil where one is not needed.
  fileprivate func convolveBack(
    through matrix: SparseMatrix, shape: esp_conv_shape, input: Activations, delta: Activations, base: Activations?,
    weightGradient: UnsafeMutablePointer<Float>?, into gradient: Activations?
  ) {
    let (blocks, lanes) = (input.shape.blocks, input.shape.lanes)
    let back = gradient.map { _ in matrix.transposedView(threads: threadCount) }
    withUnsafePointer(to: matrix.structure.csr) { csr in
      withUnsafePointer(to: (back?.structure ?? matrix.structure).csr) { transposed in
        withUnsafePointer(to: shape) { shape in
          var gradients = esp_conv_gradients(
            w: csr, transposed: transposed, transposed_values: back.map { UnsafePointer($0.values) }, x: input.pointer,
            d: delta.pointer, base: base.map { UnsafePointer($0.pointer) }, g: weightGradient, dx: gradient?.pointer)
          let floats = esp_sparse_conv_backward_workspace(shape, matrix.count, blocks, lanes, threadCount)
          pool.withWorkspace(count: floats) { workspace in
            withExtendedLifetime((input, delta, base, gradient)) {
              esp_sparse_conv_backward_f32(isa, &gradients, shape, blocks, lanes, workspace, threadCount)
            }
          }
        }
      }
    }
  }
}
