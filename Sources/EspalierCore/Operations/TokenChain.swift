import EspLayers

/// A layer that takes each token by itself.
public enum TokenLink {
  /// Normalisation over a token's features.
  case norm(LayerNormState)
  /// y = W x + b.
  case linear(weight: SparseParameter, bias: VectorParameter?)
  /// x * Phi(x), with the normal distribution's Phi.
  case gelu
}

extension Tape {
  /// Links that one chain takes at most.
  public static let longestTokenChain = Int(ESP_CHAIN_LINKS)

  /// y = residual + the links applied to x in order, a few tokens at a time, so that what lies between them stays in the cache; the residual
  /// is zero where nil.
  ///
  /// Keeps x and the norms' moments alone: backward makes the links' inputs again. It adds to the gradient that x has got already in the same pass.
  ///
  /// - Precondition: the first link is no GELU; with a residual the last one is linear.
  public func tokenChain(_ x: Variable, _ links: [TokenLink], adding residual: Variable? = nil) throws -> Variable {
    let outputs = try requireLinks(links, input: x.shape)
    guard residual.map({ $0.shape == x.shape.with(channels: outputs) }) ?? true else {
      throw EspalierError.usage("residual block: what is added must have the shape of what it is added to")
    }
    let input = x.value
    let moments = isTraining ? context.momentSpaces(of: links, on: input.shape) : []
    let value = context.run(links, on: input, adding: residual?.value, keeping: moments)
    let needsGradient = x.needsGradient
    guard let residual, needsGradient, residual.node == x.node else {
      return recordAdding(value, inputs: [x] + (residual.map { [$0] } ?? [])) { [unowned self] delta, present in
        [
          try back(
            through: links, input: input, delta: delta, base: present, moments: moments, needsGradient: needsGradient),
          delta,
        ]
      }
    }
    return record(value, inputs: [x]) { [unowned self] delta in
      var base = delta
      // A single link reads what is beside the place that it writes to.
      base.isDisposable = delta.isDisposable && links.count > 1
      return [
        try back(through: links, input: input, delta: delta, base: base, moments: moments, needsGradient: true)
      ]
    }
  }

  /// - Returns: the number of features that the links make.
  private func requireLinks(_ links: [TokenLink], input: ActivationShape) throws -> Int {
    guard links.count <= Int(ESP_CHAIN_LINKS), input.positions == 1 else {
      throw EspalierError.usage("token layers: expected vectors and at most \(ESP_CHAIN_LINKS) layers in a row")
    }
    return try links.reduce(input.channels) { features, link in
      let (name, expected) =
        switch link {
        case .norm(let state): (state.name, state.channels)
        case .linear(let weight, _): (weight.name, weight.matrix.columns)
        case .gelu: ("", features)
        }
      guard features == expected else {
        throw EspalierError.usage("\(name): expected \(expected) features a token, found \(features)")
      }
      return link.outputs(of: features)
    }
  }

  /// The gradient of the chain's input, plus `base`; stores those of the links' parameters. A visitor sees each linear layer with its whole
  /// input, which is made for it; so does a backward set.
  private func back(
    through links: [TokenLink], input: Activations, delta: Activations, base: Activations?,
    moments: [ActivationStorage?], needsGradient: Bool
  ) throws -> Activations? {
    guard gradientSiteVisitor != nil || computesSparseGradients && links.contains(where: \.hasBackwardSet) else {
      return context.back(
        through: links, input: input, delta: delta, base: base, moments: moments, needsGradient: needsGradient,
        weightGradients: computesSparseGradients)
    }
    var inputs = [input]
    for link in links.dropLast() { inputs.append(context.run([link], on: inputs.last!, adding: nil)) }
    var delta = delta
    for (index, link) in links.enumerated().reversed() {
      if case .linear(let weight, _) = link {
        let site = LinearSite(parameter: weight, input: inputs[index], delta: delta, context: context)
        try show(site)
        if computesSparseGradients { measure(.weightGradient) { site.computeBackwardSetGradients() } }
      }
      let gradient = context.back(
        through: [link], input: inputs[index], delta: delta, base: index == 0 ? base : nil,
        needsGradient: needsGradient || index > 0, weightGradients: computesSparseGradients)
      guard let gradient else { return nil }
      delta = gradient
    }
    return delta
  }
}

extension TokenLink {
  fileprivate var hasBackwardSet: Bool {
    if case .linear(let weight, _) = self { return weight.backward != nil }
    return false
  }

  fileprivate func outputs(of features: Int) -> Int {
    if case .linear(let weight, _) = self { return weight.matrix.rows }
    return features
  }

  /// What the kernels take, forward; valid as long as the link lives.
  fileprivate func forwardLink(inputs: Int) -> esp_link {
    var link = esp_link()
    link.inputs = inputs
    link.outputs = outputs(of: inputs)
    switch self {
    case .norm(let state):
      link.kind = ESP_LINK_NORM
      link.scale = UnsafePointer(state.scale.values.pointer)
      link.shift = UnsafePointer(state.shift.values.pointer)
      link.epsilon = LayerNormState.epsilon
    case .linear(let weight, let bias):
      link.kind = ESP_LINK_LINEAR
      link.w = weight.matrix.structure.csr
      link.values = UnsafePointer(weight.matrix.values.pointer)
      link.shift = bias.map { UnsafePointer($0.values.pointer) }
    case .gelu:
      link.kind = ESP_LINK_GELU
    }
    return link
  }

  /// The same, backward. The transposed structure's values are permuted for it, unless nothing goes through.
  fileprivate func backwardLink(inputs: Int, weightGradients: Bool, passes: Bool, threads: Int32) -> esp_link {
    var link = forwardLink(inputs: inputs)
    switch self {
    case .norm(let state):
      link.scale_gradient = state.scale.gradient.pointer
      link.shift_gradient = state.shift.gradient.pointer
    case .linear(let weight, let bias):
      link.weight_gradient = weightGradients ? weight.gradient.pointer : nil
      link.shift_gradient = bias?.gradient.pointer
      if passes {
        let (structure, values) = weight.matrix.transposedView(threads: threads)
        link.transposed = structure.csr
        link.transposed_values = UnsafePointer(values)
        link.permutation = UnsafePointer(weight.matrix.transposed.permutation.pointer)
      }
    case .gelu: break
    }
    return link
  }
}

extension ComputeContext {
  private func withChain<R>(_ links: [esp_link], _ shape: ActivationShape, _ body: (UnsafePointer<esp_chain>) -> R) -> R
  {
    links.withUnsafeBufferPointer {
      let chain = esp_chain(
        links: $0.baseAddress, count: links.count, samples: shape.samples, tokens: shape.tokens, lanes: shape.lanes)
      return withUnsafePointer(to: chain, body)
    }
  }

  /// Room for each norm's moments.
  fileprivate func momentSpaces(of links: [TokenLink], on shape: ActivationShape) -> [ActivationStorage?] {
    links.map { link in
      guard case .norm = link else { return nil }
      return withChain([], shape) { pool.workspace(count: esp_chain_moments($0)) }
    }
  }

  /// `moments`, one a link, receive those of norms, if there are any.
  fileprivate func run(
    _ links: [TokenLink], on x: Activations, adding base: Activations?, keeping moments: [ActivationStorage?] = []
  ) -> Activations {
    var features = x.shape.channels
    var kernelLinks = links.map { link in
      defer { features = link.outputs(of: features) }
      return link.forwardLink(inputs: features)
    }
    for (index, space) in moments.enumerated() { kernelLinks[index].moments = space?.pointer }
    let output = pool.activations(x.shape.with(channels: features))
    withExtendedLifetime((links, moments)) {
      withChain(kernelLinks, x.shape) { chain in
        pool.withWorkspace(count: esp_chain_forward_workspace(chain, threadCount)) {
          esp_chain_forward(isa, chain, x.pointer, base?.pointer, output.pointer, $0, threadCount)
        }
      }
    }
    return output
  }

  /// The gradient of the links' input, plus `base`, whose place it takes where nobody else needs that; nil where it is not needed.
  fileprivate func back(
    through links: [TokenLink], input: Activations, delta: Activations, base: Activations?,
    moments: [ActivationStorage?] = [], needsGradient: Bool, weightGradients: Bool
  ) -> Activations? {
    var features = input.shape.channels
    var kernelLinks = links.enumerated().map { index, link in
      defer { features = link.outputs(of: features) }
      return link.backwardLink(
        inputs: features, weightGradients: weightGradients, passes: needsGradient || index > 0, threads: threadCount)
    }
    for (index, space) in moments.enumerated() { kernelLinks[index].moments = space?.pointer }
    let partials = links.flatMap { link -> [ActivationStorage?] in
      guard case .linear(let weight, _) = link, weightGradients else { return .init(repeating: nil, count: Self.parts) }
      return (0..<Self.parts).map { _ in pool.workspace(count: weight.matrix.structure.count) }
    }
    let place = base.flatMap { $0.isDisposable ? Activations(shape: input.shape, storage: $0.storage) : nil }
    let gradient = needsGradient ? place ?? pool.activations(input.shape) : nil
    withExtendedLifetime((links, partials, moments)) {
      withChain(kernelLinks, input.shape) { chain in
        pool.withWorkspace(count: esp_chain_backward_workspace(chain, threadCount)) {
          esp_chain_backward(
            isa, chain, input.pointer, delta.pointer, base?.pointer, gradient?.pointer, partials.map { $0?.pointer },
            $0, threadCount)
        }
      }
    }
    return gradient
  }

  /// Buffers that parts of a weight gradient need.
  private static let parts = Int(ESP_CHAIN_PARTS)
}
