import EspalierCore

/// The vision transformer without class token, dropout or trained positions (Beyer, Zhai, Kolesnikov 2022, arXiv 2205.01580), and a
/// small one for 32 x 32 images (Heddes et al., arXiv 2401.06898). Parameter names are those of the package vit-pytorch.
struct SimpleViT {
  private static let sizes = [
    "simple-vit-tiny": SimpleViT(side: 32, patch: 4, dimension: 512, depth: 4, heads: 6, hidden: 256),
    "simple-vit": SimpleViT(side: 224, patch: 16, dimension: 1024, depth: 6, heads: 16, hidden: 1024),
  ]
  static let names: [String] = sizes.keys.sorted()

  /// Pixels of the image's side and of a patch's.
  let side, patch: Int
  let dimension, depth, heads, hidden: Int
  /// Of each head, whatever the width.
  static let headSize = 64

  func spec(_ request: ModelCatalog.Request) throws -> ModelSpec {
    let dimension = Int(Double(dimension) * request.width)
    let heads = Int(Double(heads) * request.width)
    let hidden = Int(Double(hidden) * request.width)
    guard dimension >= 8, dimension % 4 == 0, heads > 0, hidden > 0 else {
      throw EspalierError.usage(
        "width: \(request.width) gives \(request.name) \(dimension) channels, \(heads) heads and \(hidden) hidden units; expected at least one head and a multiple of 4 channels"
      )
    }
    var layers: [LayerSpec] = [
      .patches(size: patch), .layerNorm(name: "to_patch_embedding.1"),
      .linear(name: "to_patch_embedding.2", outputs: dimension), .layerNorm(name: "to_patch_embedding.3"),
      .positionEmbedding,
    ]
    for layer in 0..<depth {
      let attention = "transformer.layers.\(layer).0"
      layers.append(
        .residual(
          body: [
            .layerNorm(name: "\(attention).norm"),
            .linear(name: "\(attention).to_qkv", outputs: 3 * heads * Self.headSize, bias: false),
            .attention(heads: heads, size: Self.headSize),
            .linear(name: "\(attention).to_out", outputs: dimension, bias: false),
          ], relu: false))
      let net = "transformer.layers.\(layer).1.net"
      layers.append(
        .residual(
          body: [
            .layerNorm(name: "\(net).0"), .linear(name: "\(net).1", outputs: hidden), .gelu,
            .linear(name: "\(net).3", outputs: dimension),
          ], relu: false))
    }
    layers += [
      .globalAveragePool, .layerNorm(name: "linear_head.0"), .linear(name: "linear_head.1", outputs: request.classes),
    ]
    return try ModelSpec(
      name: request.name, input: request.colourInput(side: side), classes: request.classes, layers: layers)
  }
}

extension SimpleViT {
  /// Of a model's name; nil where it is none of them.
  init?(_ request: ModelCatalog.Request) {
    guard let size = Self.sizes[request.name] else { return nil }
    self = size
  }
}
