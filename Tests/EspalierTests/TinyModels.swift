import Espalier
import EspalierCore
import TestSupport

/// Instances of the residual networks and transformers that are small enough for an oracle.
enum TinyModels {
  /// Blocks with each kind of shortcut and body's end: identity, padded, projected; norm with addition and ReLU, without ReLU,
  /// without a norm.
  static func residual() throws -> ModelSpec {
    func convolution(_ name: String, _ channels: Int, stride: Int = 1) -> LayerSpec {
      .convolution(
        name: name, outChannels: channels, geometry: ConvolutionGeometry(kernel: 3, stride: stride, padding: 1),
        bias: false)
    }
    let identity: [LayerSpec] = [
      convolution("a.conv1", 4), .batchNorm(name: "a.bn1", relu: true), convolution("a.conv2", 4),
      .batchNorm(name: "a.bn2"),
    ]
    let padded: [LayerSpec] = [
      convolution("b.conv1", 8, stride: 2), .batchNorm(name: "b.bn1", relu: true), convolution("b.conv2", 8),
      .batchNorm(name: "b.bn2"),
    ]
    let projected: [LayerSpec] = [convolution("c.conv1", 6, stride: 2), .batchNorm(name: "c.bn1")]
    let projection: [LayerSpec] = [
      .convolution(
        name: "c.downsample.0", outChannels: 6, geometry: ConvolutionGeometry(kernel: 1, stride: 2), bias: false),
      .batchNorm(name: "c.downsample.1"),
    ]
    return try ModelSpec(
      name: "tiny residual", input: FeatureSize(channels: 3, height: 6, width: 6), classes: 3,
      layers: [
        convolution("conv1", 4), .batchNorm(name: "bn1", relu: true),
        .residual(body: identity, relu: true),
        .residual(body: padded, shortcut: [.paddedShortcut(outChannels: 8, stride: 2)], relu: true),
        .residual(body: projected, shortcut: projection, relu: false),
        .residual(body: [convolution("d.conv1", 6), .batchNorm(name: "d.bn1", relu: true)], relu: false),
        .globalAveragePool, .linear(name: "linear", outputs: 3),
      ])
  }

  /// As torchvision's ResNets: a wide strided stem with a padded pool, bottlenecks with and without projection.
  static func bottlenecks() throws -> ModelSpec {
    func block(_ name: String, _ channels: Int, stride: Int, isProjected: Bool) -> LayerSpec {
      func convolution(_ part: String, _ channels: Int, _ kernel: Int, stride: Int = 1) -> LayerSpec {
        .convolution(
          name: "\(name).\(part)", outChannels: channels,
          geometry: ConvolutionGeometry(kernel: kernel, stride: stride, padding: kernel / 2), bias: false)
      }
      let projection = [
        convolution("downsample.0", 4 * channels, 1, stride: stride), .batchNorm(name: "\(name).downsample.1"),
      ]
      return .residual(
        body: [
          convolution("conv1", channels, 1), .batchNorm(name: "\(name).bn1", relu: true),
          convolution("conv2", channels, 3, stride: stride), .batchNorm(name: "\(name).bn2", relu: true),
          convolution("conv3", 4 * channels, 1), .batchNorm(name: "\(name).bn3"),
        ], shortcut: isProjected ? projection : [], relu: true)
    }
    return try ModelSpec(
      name: "tiny bottlenecks", input: FeatureSize(channels: 3, height: 13, width: 16), classes: 3,
      layers: [
        .convolution(
          name: "conv1", outChannels: 4, geometry: ConvolutionGeometry(kernel: 7, stride: 2, padding: 3), bias: false),
        .batchNorm(name: "bn1", relu: true), .maxPool(PoolGeometry(kernel: 3, stride: 2, padding: 1)),
        block("layer1.0", 2, stride: 1, isProjected: true), block("layer1.1", 2, stride: 1, isProjected: false),
        block("layer2.0", 3, stride: 2, isProjected: true), .globalAveragePool, .linear(name: "fc", outputs: 3),
      ])
  }

  /// As torchvision's VGGs: convolutions, norms, pools, an adaptive pool, hidden layers.
  static func adaptive() throws -> ModelSpec {
    let geometry = ConvolutionGeometry(kernel: 3, padding: 1)
    return try ModelSpec(
      name: "tiny VGG", input: FeatureSize(channels: 3, height: 10, width: 7), classes: 3,
      layers: [
        .convolution(name: "features.0", outChannels: 4, geometry: geometry, bias: false),
        .batchNorm(name: "features.1", relu: true), .maxPool(PoolGeometry(kernel: 2)),
        .convolution(name: "features.4", outChannels: 4, geometry: geometry, bias: false),
        .batchNorm(name: "features.5", relu: true), .adaptiveAveragePool(height: 3, width: 4), .flatten,
        .linear(name: "classifier.0", outputs: 12), .relu, .linear(name: "classifier.6", outputs: 3),
      ])
  }

  /// A transformer of one layer with two heads of 4 on a grid of 3 x 2 tokens.
  static func transformer() throws -> ModelSpec {
    try ModelSpec(
      name: "tiny transformer", input: FeatureSize(channels: 3, height: 6, width: 4), classes: 3,
      layers: [
        .patches(size: 2), .layerNorm(name: "to_patch_embedding.1"),
        .linear(name: "to_patch_embedding.2", outputs: 8), .layerNorm(name: "to_patch_embedding.3"),
        .positionEmbedding,
        .residual(
          body: [
            .layerNorm(name: "0.norm"), .linear(name: "0.to_qkv", outputs: 24, bias: false),
            .attention(heads: 2, size: 4), .linear(name: "0.to_out", outputs: 8, bias: false),
          ], relu: false),
        .residual(
          body: [
            .layerNorm(name: "1.net.0"), .linear(name: "1.net.1", outputs: 12), .gelu,
            .linear(name: "1.net.3", outputs: 8),
          ], relu: false),
        .globalAveragePool, .layerNorm(name: "linear_head.0"), .linear(name: "linear_head.1", outputs: 3),
      ])
  }

  /// A sparse model whose norms differ from untrained ones.
  static func model(_ spec: ModelSpec, sparsity: Double = 0.6, seed: UInt64 = 3, context: ComputeContext) throws
    -> Model
  {
    let model = try Model(sparse: spec, sparsity: sparsity, random: CounterRandom(seed: seed), context: context)
    var random = LayerRandom(seed: seed)
    for case .dense(let name, _, let values) in model.state where !name.contains("running") {
      for i in 0..<values.count { values[i] += Float.random(in: -0.25...0.25, using: &random) }
    }
    return model
  }

  static func images(_ spec: ModelSpec, samples: Int, seed: UInt64 = 11) -> OracleTensor {
    var random = LayerRandom(seed: seed)
    return OracleTensor(
      samples: samples, channels: spec.input.channels, height: spec.input.height, width: spec.input.width,
      using: &random
    ).map { 2 * $0 }
  }
}

/// One forward and backward pass.
struct ModelPass {
  let loss: Double
  let logits: [Float]
  let gradients: [String: [Float]]

  init(_ model: Model, _ images: OracleTensor, labels: [Int], context: ComputeContext) throws {
    let tape = Tape(context: context, mode: .training(step: 0))
    let logits = try model(Variable(Self.activations(images, context)), on: tape)
    let delta = context.pool.activations(logits.shape)
    let result = labels.map(UInt32.init).withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    loss = result.mean
    self.logits = Self.numbers(logits.value)
    for parameter in model.parameters { parameter.gradient.buffer.update(repeating: .nan) }
    try tape.backward(from: logits, gradient: delta)
    gradients = Dictionary(uniqueKeysWithValues: model.parameters.map { ($0.name, $0.gradient.array) })
  }

  static func activations(_ images: OracleTensor, _ context: ComputeContext) -> Activations {
    let result = context.pool.activations(
      ActivationShape(
        samples: images.samples, channels: images.channels, height: images.height, width: images.width))
    result.buffer.update(repeating: 0)
    for sample in 0..<images.samples {
      for feature in 0..<images.features {
        result[sample: sample, feature: feature] = Float(images.values[sample * images.features + feature])
      }
    }
    return result
  }

  static func numbers(_ activations: Activations) -> [Float] {
    let shape = activations.shape
    return (0..<shape.samples).flatMap { sample in
      (0..<shape.features).map { activations[sample: sample, feature: $0] }
    }
  }
}
