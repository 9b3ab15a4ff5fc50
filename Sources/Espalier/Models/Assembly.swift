import EspalierCore

/// Makes a description's layers, in order.
struct Assembly<Factory: WeightLayerFactory> {
  let factory: Factory
  let random: CounterRandom
  let context: ComputeContext
  var weightLayers: IndexingIterator<[WeightLayer]>
  private var dropouts = 0

  init(
    factory: Factory, random: CounterRandom, context: ComputeContext, weightLayers: IndexingIterator<[WeightLayer]>
  ) {
    self.factory = factory
    self.random = random
    self.context = context
    self.weightLayers = weightLayers
  }

  /// The layers for a sample of size `input`.
  mutating func layers(_ specs: [LayerSpec], input: FeatureSize) throws -> [any Layer] {
    var size = input
    var result: [any Layer] = []
    var tokenLayers: [any Layer] = []
    for spec in specs {
      let layer = try layer(spec, input: size)
      if size.isTokens {
        tokenLayers.append(layer)
      } else {
        result += TokenChain.joining(tokenLayers) + [layer]
        tokenLayers = []
      }
      size = try spec.output(of: size)
    }
    return result + TokenChain.joining(tokenLayers)
  }

  private mutating func layer(_ spec: LayerSpec, input: FeatureSize) throws -> any Layer {
    switch spec {
    case .convolution, .linear:
      guard let weights = weightLayers.next() else { throw EspalierError.invariant("more layers than weights") }
      return try factory.makeLayer(weights)
    case .batchNorm(let name, let relu):
      return BatchNorm(BatchNormState(name: name, channels: input.channels, meter: context.meter), relu: relu)
    case .layerNorm(let name):
      return LayerNorm(LayerNormState(name: name, channels: input.channels, meter: context.meter))
    case .relu: return ReLU()
    case .gelu: return GELU()
    case .maxPool(let geometry): return MaxPool(geometry)
    case .averagePool(let geometry): return AveragePool(geometry)
    case .adaptiveAveragePool(let height, let width): return AdaptiveAveragePool(height: height, width: width)
    case .globalAveragePool: return GlobalAveragePool()
    case .dropout(let probability):
      defer { dropouts += 1 }
      return Dropout(probability: probability, index: dropouts, random: random)
    case .flatten: return Flatten()
    case .residual(let body, let shortcut, let relu):
      return Residual(
        body: try layers(body, input: input), shortcut: try layers(shortcut, input: input), relu: relu)
    case .paddedShortcut(let outChannels, let stride):
      return PaddedShortcut(outChannels: outChannels, stride: stride)
    case .patches(let size): return Patches(size: size)
    case .positionEmbedding:
      return AddPositionEmbedding(
        PositionEmbedding(
          channels: input.channels, height: input.height, width: input.width, meter: context.meter))
    case .attention(let heads, let size): return Attention(heads: heads, size: size)
    }
  }
}
