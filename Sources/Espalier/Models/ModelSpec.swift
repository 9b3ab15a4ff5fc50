import EspalierCore
import EspalierTopology

/// A model's description: its input, its layers in order, its number of classes. Plain data.
public struct ModelSpec: Sendable, Hashable {
  /// What results and messages call the model.
  public let name: String
  /// Size of one sample.
  public let input: FeatureSize
  /// Number of classes: the last layer's outputs.
  public let classes: Int
  /// The layers, in the order in which they run.
  public let layers: [LayerSpec]
  /// The layers that have weights, in order.
  public let weightLayers: [WeightLayer]
  /// Biases and norm parameters.
  public let denseParameters: Int

  /// - Throws: `EspalierError.usage` where a layer does not fit what comes before it, a name stands twice, or the last layer does not
  ///   have one output a class.
  public init(name: String, input: FeatureSize, classes: Int, layers: [LayerSpec]) throws {
    self.name = name
    self.input = input
    self.classes = classes
    self.layers = layers
    var weightLayers: [WeightLayer] = []
    var names: Set<String> = []
    var dense = 0
    try layers.visit(input: input) { layer, size in
      if let weights = try layer.weightLayer(input: size, index: weightLayers.count) { weightLayers.append(weights) }
      dense += layer.denseParameters(input: size)
      if let layerName = layer.name, !names.insert(layerName).inserted {
        throw EspalierError.usage("\(name): two layers have the same name, \(layerName)")
      }
    }
    let output = try layers.output(of: input)
    guard output == FeatureSize(channels: classes) else {
      throw EspalierError.usage("\(name): the last layer has \(output) outputs, expected \(classes) classes")
    }
    self.weightLayers = weightLayers
    denseParameters = dense
  }

  /// Size of all weight layers' dense form.
  public var sparsifiableWeights: Int { weightLayers.reduce(0) { $0 + $1.shape.size } }
  /// Weights of the dense form, biases and norm parameters.
  public var parameters: Int { sparsifiableWeights + denseParameters }

  /// Channels of each batch norm, in order.
  package var batchNormChannels: [Int] {
    var channels: [Int] = []
    // The layers fit together: they have been made into this description.
    try? layers.visit(input: input) { layer, size in
      if case .batchNorm = layer { channels.append(size.channels) }
    }
    return channels
  }

  /// Forward floating-point operations a sample of the weight layers, with these numbers of connections.
  public func forwardFlops(connections: [Int]) -> Int {
    zip(weightLayers, connections).reduce(0) { $0 + $1.0.forwardFlops(connections: $1.1) }
  }

  /// The same with every weight present.
  public var denseForwardFlops: Int { forwardFlops(connections: weightLayers.map(\.shape.size)) }
}
