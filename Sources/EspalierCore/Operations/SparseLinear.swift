import EspLayers
import EspSparseMatmul

extension Tape {
  /// y = W x + b with sparse W [outputs, inputs]; x and y [samples, features], or [samples, tokens, features].
  ///
  /// Backward: dx = W' dy and dW = dy x' at the active connections only, in one pass over the transposed structure; db = sum of dy.
  public func sparseLinear(_ x: Variable, weight: SparseParameter, bias: VectorParameter?) throws -> Variable {
    let matrix = weight.matrix
    guard x.shape.features == matrix.columns else {
      throw EspalierError.usage("\(matrix.name): expected \(matrix.columns) inputs, found \(x.shape.features)")
    }
    let context = context
    let input = x.value
    let output = context.pool.activations(x.shape.with(channels: matrix.rows))
    withUnsafePointer(to: matrix.structure.csr) {
      esp_spmm_f32(
        context.isa, $0, matrix.values.pointer, bias?.values.pointer, input.shape.blocks, input.shape.lanes,
        input.pointer, output.pointer, context.threadCount)
    }
    return record(output, inputs: [x]) { [unowned self] delta in
      if let bias { context.biasGradient(of: delta, into: bias) }
      let site = LinearSite(parameter: weight, input: input, delta: delta, context: context)
      guard x.needsGradient, computesSparseGradients else {
        try visit(site)
        return [x.needsGradient ? context.inputGradient(ofLinear: matrix, delta: delta, input: input.shape) : nil]
      }
      try show(site)
      let gradient = context.gradients(ofLinear: weight, input: input, delta: delta)
      measure(.weightGradient) { site.computeBackwardSetGradients() }
      return [gradient]
    }
  }

  /// Shows the layer to the visitor and computes the gradient at its active connections, and at those of its backward set.
  func visit(_ site: some GradientSite) throws {
    try show(site)
    guard computesSparseGradients else { return }
    measure(.weightGradient) {
      site.computeGradients(at: site.parameter.matrix.structure, into: site.parameter.gradient)
      site.computeBackwardSetGradients()
    }
  }

  /// Shows the layer to the visitor.
  func show(_ site: some GradientSite) throws {
    guard let gradientSiteVisitor else { return }
    try measure(.growth) { try gradientSiteVisitor(site) }
  }
}

extension GradientSite {
  /// The gradient at the connections that are trained and not used.
  func computeBackwardSetGradients() {
    guard let backward = parameter.backward else { return }
    computeGradients(at: backward.weights.structure, into: backward.gradient)
  }
}

struct LinearSite: GradientSite {
  let parameter: SparseParameter
  let input: Activations
  let delta: Activations
  let context: ComputeContext

  var positions: Int { delta.shape.tokens }

  func activity(_ measure: ActivityMeasure) -> LayerActivity {
    let activity = LayerActivity(of: parameter.matrix)
    context.withSigns(measure, of: delta.shape) { signs in
      context.sumActivity(of: input, signs: signs, into: activity.inputs)
      context.sumActivity(of: delta, signs: signs, into: activity.outputs)
    }
    return activity
  }

  func activityFlops(_ measure: ActivityMeasure) -> Int {
    2 * (parameter.matrix.rows + parameter.matrix.columns) * positions
  }

  func computeGradients(at connections: SparseStructure, into gradients: MeteredBuffer<Float>) {
    precondition(gradients.count >= connections.count)
    withUnsafePointer(to: connections.csr) {
      esp_sddmm_f32(
        context.isa, $0, delta.shape.blocks, delta.shape.lanes, input.pointer, delta.pointer, gradients.pointer,
        context.threadCount)
    }
  }

  func computeGradients(ofRows rows: Range<Int>, into gradients: MeteredBuffer<Float>) {
    precondition(gradients.count >= rows.count * parameter.matrix.columns)
    context.gradientTile(
      input: input, delta: delta, rows: rows, columns: 0..<parameter.matrix.columns, adding: false,
      into: gradients.pointer)
  }
}

extension ComputeContext {
  /// A rectangle of delta input': [rows.count, columns.count], or that added to what is there.
  func gradientTile(
    input: Activations, delta: Activations, rows: Range<Int>, columns: Range<Int>, adding: Bool,
    into gradients: UnsafeMutablePointer<Float>
  ) {
    let lanes = input.shape.lanes
    var tile = esp_gradient_tile(
      rows: rows.count, columns: columns.count, blocks: input.shape.blocks, lanes: lanes,
      x: input.pointer + columns.lowerBound * lanes, x_features: input.shape.features,
      d: delta.pointer + rows.lowerBound * lanes, d_features: delta.shape.features, g: gradients,
      g_columns: columns.count)
    esp_gradient_tile_f32(isa, &tile, adding ? 1 : 0, threadCount)
  }

  package func biasGradient(of delta: Activations, into bias: VectorParameter) {
    let shape = delta.shape
    if let sums = delta.channelSums {
      bias.gradient.pointer.update(from: sums.pointer, count: shape.channels)
      return
    }
    esp_bias_gradient(
      isa, delta.pointer, shape.blocks, shape.channels, shape.positions, shape.lanes, bias.gradient.pointer,
      threadCount)
  }

  /// Stores the weights' gradient, and returns the input's.
  fileprivate func gradients(ofLinear weight: SparseParameter, input: Activations, delta: Activations) -> Activations {
    let gradient = pool.activations(input.shape)
    let (structure, values) = weight.matrix.transposedView(threads: threadCount)
    pool.withWorkspace(count: structure.count) { inOrder in
      withUnsafePointer(to: structure.csr) {
        esp_linear_backward_f32(
          isa, $0, values, delta.shape.blocks, delta.shape.lanes, input.pointer, delta.pointer, nil, gradient.pointer,
          0, inOrder, threadCount)
      }
      weight.matrix.transposed.restoreOrder(of: inOrder, into: weight.gradient, threads: threadCount)
    }
    return gradient
  }

  fileprivate func inputGradient(
    ofLinear matrix: SparseMatrix, delta: Activations, input: ActivationShape
  ) -> Activations {
    let gradient = pool.activations(input)
    let (structure, values) = matrix.transposedView(threads: threadCount)
    withUnsafePointer(to: structure.csr) {
      esp_spmm_f32(
        isa, $0, values, nil, delta.shape.blocks, delta.shape.lanes, delta.pointer, gradient.pointer, threadCount)
    }
    return gradient
  }
}
