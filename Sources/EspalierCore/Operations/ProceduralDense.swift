import EspLayers
import EspSparseConv
import EspSparseMatmul

extension Tape {
  /// y = W x + b with procedural W [outputs, inputs]; x and y [samples, features], or [samples, tokens, features].
  ///
  /// Forward and backward compute the weights in rectangles of some 64 x 1,024. Backward: dx = W' dy; of dW the factors alone, for the visitor.
  public func proceduralLinear(
    _ x: Variable, weights: ProceduralWeights, bias: VectorParameter?
  ) throws -> Variable {
    guard x.shape.features == weights.columns else {
      throw EspalierError.usage("\(weights.name): expected \(weights.columns) inputs, found \(x.shape.features)")
    }
    let (context, input, needsGradient) = (context, x.value, x.needsGradient)
    let output = context.multiply(weights, bias: bias, by: input)
    return record(output, inputs: [x]) { [unowned self] delta in
      gradientFactorsVisitor?(weights, GradientFactors(input: input, delta: delta, shape: nil))
      return [needsGradient ? context.multiplyTransposed(weights, by: delta, input: input.shape, forward: nil) : nil]
    }
  }

  /// y = W * x + b: a 2-D convolution with procedural W [outputs, channels * kernel height * width].
  public func proceduralConvolution(
    _ x: Variable, weights: ProceduralWeights, bias: VectorParameter?, geometry: ConvolutionGeometry
  ) throws -> Variable {
    guard x.shape.channels * geometry.taps == weights.columns, weights.taps == geometry.taps else {
      throw EspalierError.usage(
        "\(weights.name): expected \(weights.columns / weights.taps) channels, found \(x.shape.channels)")
    }
    let (context, input, needsGradient) = (context, x.value, x.needsGradient)
    let shape = try geometry.kernelShape(input: x.shape, outputs: weights.rows)
    let output = context.convolve(weights, bias: bias, shape: shape, input)
    return record(output, inputs: [x]) { [unowned self] delta in
      gradientFactorsVisitor?(weights, GradientFactors(input: input, delta: delta, shape: shape))
      return [needsGradient ? context.multiplyTransposed(weights, by: delta, input: input.shape, forward: shape) : nil]
    }
  }
}

extension ComputeContext {
  /// Numbers of a tile, at most.
  private static let tile = 1 << 16

  fileprivate func multiply(
    _ weights: ProceduralWeights, bias: VectorParameter?, by x: Activations
  ) -> Activations {
    let output = pool.activations(x.shape.with(channels: weights.rows))
    let room = min(Self.tile, weights.largestBuffer)
    let width = min(weights.columns, 1024, room)
    let height = max(1, min(64, weights.rows, room / width))
    let apart = weights.perturbationAside(samples: x.shape.samples * x.shape.tokens)
    let tile = ProceduralTile(weights, height: height, width: width, isPerturbed: apart == nil, context: self)
    for first in stride(from: 0, to: weights.rows, by: height) {
      let rows = first..<min(weights.rows, first + height)
      let part = pool.activations(x.shape.with(channels: rows.count))
      for left in stride(from: 0, to: weights.columns, by: width) {
        tile.fill(rows: rows, columns: left..<min(weights.columns, left + width))
        withUnsafePointer(to: tile.csr) {
          esp_spmm_add_f32(
            isa, $0, tile.values.pointer, left == 0 ? bias.map { UnsafePointer($0.values.pointer) + first } : nil,
            left == 0 ? nil : UnsafePointer(part.pointer), 0, x.shape.blocks, x.shape.lanes, x.pointer, part.pointer,
            threadCount)
        }
      }
      part.copyChannels(to: output, from: first, adding: false)
    }
    if let apart {
      for factor in apart.factors { add(apart.scale, times: factor.delta, transposed: factor.input, by: x, to: output) }
    }
    return output
  }

  fileprivate func convolve(
    _ weights: ProceduralWeights, bias: VectorParameter?, shape: esp_conv_shape, _ x: Activations
  ) -> Activations {
    let output = pool.activations(
      x.shape.with(channels: weights.rows, height: shape.out_height, width: shape.out_width))
    let height = max(1, min(64, weights.rows, weights.largestBuffer / weights.columns))
    let tile = ProceduralTile(weights, height: height, width: weights.columns, isPerturbed: true, context: self)
    for first in stride(from: 0, to: weights.rows, by: height) {
      let rows = first..<min(weights.rows, first + height)
      tile.fill(rows: rows, columns: 0..<weights.columns)
      var shape = shape
      shape.out_channels = rows.count
      let part = pool.activations(
        output.shape.with(channels: rows.count, height: shape.out_height, width: shape.out_width))
      convolve(
        tile.csr, tile.values, bias: bias.map { UnsafePointer($0.values.pointer) + first }, shape: shape, from: x,
        to: part)
      part.copyChannels(to: output, from: first, adding: false)
    }
    return output
  }

  /// W' delta: the input gradient, of a convolution of shape `forward` or of a linear layer.
  fileprivate func multiplyTransposed(
    _ weights: ProceduralWeights, by delta: Activations, input: ActivationShape, forward: esp_conv_shape?
  ) -> Activations {
    let gradient = pool.activations(input)
    let taps = weights.taps
    let room = min(Self.tile, weights.largestBuffer)
    let width = min(weights.columns, max(1, 64 / taps) * taps)
    let height = max(1, min(weights.rows, room / width))
    let apart = forward == nil ? weights.perturbationAside(samples: delta.shape.samples * delta.shape.tokens) : nil
    let tile = ProceduralTile(weights, height: height, width: width, isPerturbed: apart == nil, context: self)
    let transposed = ProceduralTile.Transposed(weights, height: height, width: width)
    for first in stride(from: 0, to: weights.rows, by: height) {
      let rows = first..<min(weights.rows, first + height)
      let part = delta.channels(rows, pool: pool)
      for left in stride(from: 0, to: weights.columns, by: width) {
        let columns = left..<min(weights.columns, left + width)
        tile.fill(rows: rows, columns: columns)
        tile.transpose(into: transposed)
        let result: Activations
        if var shape = forward {
          (shape.in_channels, shape.out_channels) = (columns.count / taps, rows.count)
          result = pool.activations(input.with(channels: shape.in_channels, height: input.height, width: input.width))
          let back = withUnsafePointer(to: shape) { esp_conv_input_gradient_shape($0) }
          convolve(transposed.csr, transposed.values, bias: nil, shape: back, from: part, to: result)
        } else {
          result = pool.activations(input.with(channels: columns.count))
          withUnsafePointer(to: transposed.csr) {
            esp_spmm_f32(
              isa, $0, transposed.values.pointer, nil, part.shape.blocks, part.shape.lanes, part.pointer,
              result.pointer, threadCount)
          }
        }
        result.copyChannels(to: gradient, from: left / taps, adding: first > 0)
      }
    }
    if let apart {
      for factor in apart.factors {
        add(apart.scale, times: factor.input, transposed: factor.delta, by: delta, to: gradient)
      }
    }
    return gradient
  }

  /// y += scale * a (b' x): a product with the matrix a b', which is not made. a [s, rows], b [s, columns], x [n, columns], y [n, rows]; s and n are rows of
  /// two batches. Cost: 2 s n (rows + columns) operations, a block of each batch at a time.
  private func add(
    _ scale: Float, times a: Activations, transposed b: Activations, by x: Activations, to y: Activations
  ) {
    let (lanes, inner) = (x.shape.lanes, b.shape.lanes)
    pool.withWorkspace(count: lanes * inner) { small in
      for block in 0..<x.shape.blocks {
        let (input, output) = (x.block(block), y.block(block))
        for other in 0..<b.shape.blocks {
          // [lanes, inner], summed over features, which lie as the samples of another layout.
          var products = esp_gradient_tile(
            rows: lanes, columns: inner, blocks: x.shape.features, lanes: 1, x: b.block(other), x_features: inner,
            d: input, d_features: lanes, g: small, g_columns: inner)
          esp_gradient_tile_f32(isa, &products, 0, threadCount)
          for k in 0..<lanes * inner { small[k] *= scale }
          var sum = esp_gradient_tile(
            rows: y.shape.features, columns: lanes, blocks: 1, lanes: inner, x: small, x_features: lanes,
            d: a.block(other), d_features: a.shape.features, g: output, g_columns: lanes)
          esp_gradient_tile_f32(isa, &sum, 1, threadCount)
        }
      }
    }
  }

  private func convolve(
    _ w: esp_csr, _ values: MeteredBuffer<Float>, bias: UnsafePointer<Float>?, shape: esp_conv_shape,
    from x: Activations, to y: Activations
  ) {
    withUnsafePointer(to: w) { w in
      withUnsafePointer(to: shape) { shape in
        let count = Int(w.pointee.row_starts[w.pointee.rows])
        let floats = esp_sparse_conv_workspace(shape, count, x.shape.lanes, threadCount)
        pool.withWorkspace(count: floats) {
          esp_sparse_conv_f32(
            isa, w, values.pointer, bias, shape, x.shape.blocks, x.shape.lanes, x.pointer, y.pointer, $0, threadCount)
        }
      }
    }
  }

  /// gradients[k] := the sum over `factors` of their product at connection k of `connections`, whose rows are the layer's rows `rows`.
  ///
  /// `columns`: where the connections are all of these, rather than some.
  func sumGradients(
    of factors: [GradientFactors], rows: Range<Int>, columns: Range<Int>?, at connections: esp_csr,
    into gradients: UnsafeMutablePointer<Float>
  ) {
    guard connections.row_starts[rows.count] > 0 else { return }
    precondition(columns.map { Int(connections.row_starts[rows.count]) == rows.count * $0.count } ?? true)
    for (number, factor) in factors.enumerated() {
      let (x, adding) = (factor.input, number > 0)
      if let shape = factor.shape {
        sumGradients(of: factor, shape: shape, rows: rows, at: connections, adding: adding, into: gradients)
      } else if let columns {
        gradientTile(input: x, delta: factor.delta, rows: rows, columns: columns, adding: adding, into: gradients)
      } else {
        let delta = factor.delta.channels(rows, pool: pool)
        withUnsafePointer(to: connections) {
          esp_sddmm_add_f32(
            isa, $0, x.shape.blocks, x.shape.lanes, x.pointer, delta.pointer, adding ? 1 : 0, gradients, threadCount)
        }
      }
    }
  }

  /// The same of a convolution of shape `shape`, one product.
  private func sumGradients(
    of factor: GradientFactors, shape: esp_conv_shape, rows: Range<Int>, at connections: esp_csr, adding: Bool,
    into gradients: UnsafeMutablePointer<Float>
  ) {
    let (x, delta, count) = (
      factor.input, factor.delta.channels(rows, pool: pool), Int(connections.row_starts[rows.count])
    )
    var shape = shape
    shape.out_channels = rows.count
    withUnsafePointer(to: connections) { csr in
      withUnsafePointer(to: shape) { shape in
        let floats = esp_sparse_conv_sddmm_workspace(shape, count, x.shape.blocks, x.shape.lanes, threadCount)
        pool.withWorkspace(count: floats + count) { space in
          let place = adding ? space + floats : gradients
          esp_sparse_conv_sddmm_f32(
            isa, csr, shape, x.shape.blocks, x.shape.lanes, x.pointer, delta.pointer, place, space, threadCount)
          if adding { esp_add(isa, gradients, place, count, gradients, threadCount) }
        }
      }
    }
  }
}

extension Activations {
  /// Where a block begins.
  fileprivate func block(_ number: Int) -> UnsafeMutablePointer<Float> {
    pointer + number * shape.features * shape.lanes
  }

  /// A copy of some channels of all samples and tokens.
  fileprivate func channels(_ range: Range<Int>, pool: ActivationPool) -> Activations {
    let part = pool.activations(shape.with(channels: range.count, height: shape.height, width: shape.width))
    let (from, size) = (shape.features * shape.lanes, shape.positions * shape.lanes)
    for block in 0..<shape.blocks {
      (part.pointer + block * range.count * size).update(
        from: pointer + block * from + range.lowerBound * size, count: range.count * size)
    }
    return part
  }

  /// Puts these channels in place of `whole`'s, from number `first` on, or adds them.
  fileprivate func copyChannels(to whole: Activations, from first: Int, adding: Bool) {
    let size = shape.positions * shape.lanes
    let count = shape.channels * size
    for block in 0..<shape.blocks {
      let target = whole.pointer + block * whole.shape.features * shape.lanes + first * size
      let source = pointer + block * count
      guard adding else {
        target.update(from: source, count: count)
        continue
      }
      for i in 0..<count { target[i] += source[i] }
    }
  }
}
