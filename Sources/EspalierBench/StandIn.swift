import Espalier

/// A model small enough for a few of its training steps to be measured within a second or so, and so like the whole one that its times,
/// scaled by operations, stand for the whole one's.
package struct StandIn {
  package private(set) var spec: ModelSpec
  /// Fraction of its weights that are absent.
  package private(set) var sparsity: Double
  package private(set) var reduction = ScalingPlan.Reduction.none

  /// Weights of a dense model, connections of a sparse one, at most.
  private static let weights = 40_000_000, connections = 3_000_000
  /// Operations of a dense forward pass of a sample at most, as far as smaller images, or where all weights are there fewer channels, help.
  private static let operations = 600_000_000

  /// For a model with all weights.
  package init(dense spec: ModelSpec) { self.init(spec, sparsity: 0, connections: Self.weights) }

  /// For a model with some of them.
  package init(sparse spec: ModelSpec, sparsity: Double) {
    self.init(spec, sparsity: sparsity, connections: Self.connections)
  }

  private init(_ spec: ModelSpec, sparsity: Double, connections: Int) {
    (self.spec, self.sparsity) = (spec, sparsity)
    while (1 - self.sparsity) * Double(self.spec.sparsifiableWeights) > Double(connections), narrow() {}
    while self.spec.denseForwardFlops > Self.operations, shrinkImages() {}
    while sparsity == 0, self.spec.denseForwardFlops > Self.operations, narrow() {}
  }

  /// Halves the width. A unit keeps its connections, so that density doubles, up to 5 %; from there on density stays.
  private mutating func narrow() -> Bool {
    guard let next = try? spec.reduced(width: 2), next.sparsifiableWeights < spec.sparsifiableWeights else {
      return false
    }
    let density = 1 - sparsity
    let fewer = Double(spec.sparsifiableWeights) / Double(next.sparsifiableWeights)
    let kept = max(density, min(density * fewer / 2, 0.05))
    if kept != density { sparsity = 1 - kept }
    spec = next
    reduction = .init(width: 2 * reduction.width, side: reduction.side)
    return true
  }

  /// Halves the images' sides, where weights do not depend on them.
  private mutating func shrinkImages() -> Bool {
    guard spec.input.height % 2 == 0, spec.input.width % 2 == 0,
      let next = try? spec.reduced(width: 1, side: 2), next.sparsifiableWeights == spec.sparsifiableWeights
    else { return false }
    spec = next
    reduction = .init(width: reduction.width, side: 2 * reduction.side)
    return true
  }

  /// About what it takes of the whole model's activations.
  package func share(ofActivations bytes: Int) -> Double {
    Double(bytes) / Double(reduction.width * reduction.side * reduction.side)
  }
}

extension ModelSpec {
  /// The same layers with the channels and units divided by `width`, the head's outputs apart, on images whose sides are divided by `side`.
  ///
  /// - Throws: `EspalierError.usage` where they do not fit together.
  package func reduced(width factor: Int, side: Int = 1) throws -> ModelSpec {
    let head = weightLayers.last?.shape.name
    func fewer(_ count: Int) -> Int { (count + factor - 1) / factor }
    func narrow(_ layer: LayerSpec) -> LayerSpec {
      switch layer {
      case .convolution(let name, let channels, let geometry, let bias) where name != head:
        .convolution(name: name, outChannels: fewer(channels), geometry: geometry, bias: bias)
      case .linear(let name, let outputs, let bias) where name != head:
        .linear(name: name, outputs: fewer(outputs), bias: bias)
      case .residual(let body, let shortcut, let relu):
        .residual(body: body.map { narrow($0) }, shortcut: shortcut.map { narrow($0) }, relu: relu)
      case .paddedShortcut(let channels, let stride): .paddedShortcut(outChannels: fewer(channels), stride: stride)
      case .attention(let heads, let size): .attention(heads: heads, size: fewer(size))
      default: layer
      }
    }
    let image = FeatureSize(channels: input.channels, height: input.height / side, width: input.width / side)
    return try ModelSpec(name: name, input: image, classes: classes, layers: layers.map { narrow($0) })
  }
}
