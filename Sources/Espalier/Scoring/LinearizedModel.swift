import EspalierCore
import Foundation

/// A model as SynFlow sees it (Tanaka et al., arXiv 2006.05467): the magnitudes of its weights alone, and one sample of ones.
///
/// Biases are left out, as in the paper's R = 1' |W_L| ... |W_1| 1. Norms are those of an evaluation before training, batch norm's a constant; layer
/// norm, GELU, softmax, ReLU and dropout are the identity, and a position embedding counts with its magnitude (as in the code of Heddes et al.).
/// Numbers grow with every layer: each tensor is kept at 1 to 2 at most with an exponent of its own.
package struct LinearizedModel {
  /// One layer's factors of dR/d|w|, and what brings |w| times their product to its share of R.
  package struct Flow {
    package let factors: GradientFactors
    package let scale: Float
  }

  private indirect enum Node {
    case weights(any Layer, index: Int)
    case plain(any Layer)
    case scale(Float)
    case positions(any Layer)
    case attention(heads: Int, size: Int)
    case residual(body: [Node], shortcut: [Node])
  }

  private let nodes: [Node]
  private let input: FeatureSize
  private let layerCount: Int
  private let context: ComputeContext

  package init(_ spec: ModelSpec, weights: [ProceduralWeights], context: ComputeContext) throws {
    var layers = zip(spec.weightLayers, weights).makeIterator()
    func nodes(of specs: [LayerSpec], input: FeatureSize) throws -> [Node] {
      var size = input
      return try specs.flatMap { layer -> [Node] in
        defer { size = (try? layer.output(of: size)) ?? size }
        switch layer {
        case .convolution, .linear:
          guard let (layer, weights) = layers.next() else { throw EspalierError.invariant("more layers than weights") }
          guard let geometry = layer.geometry else {
            return [.weights(ProceduralLinear(weights: weights, bias: nil), index: layer.index)]
          }
          return [
            .weights(ProceduralConvolution(weights: weights, bias: nil, geometry: geometry), index: layer.index)
          ]
        case .batchNorm: return [.scale(1 / (1 + BatchNormState.epsilon).squareRoot())]
        case .layerNorm, .relu, .gelu, .dropout: return []
        case .maxPool(let geometry): return [.plain(MaxPool(geometry))]
        case .averagePool(let geometry): return [.plain(AveragePool(geometry))]
        case .adaptiveAveragePool(let height, let width):
          return [.plain(AdaptiveAveragePool(height: height, width: width))]
        case .globalAveragePool: return [.plain(GlobalAveragePool())]
        case .flatten: return [.plain(Flatten())]
        case .paddedShortcut(let channels, let stride):
          return [.plain(PaddedShortcut(outChannels: channels, stride: stride))]
        case .patches(let size): return [.plain(Patches(size: size))]
        case .positionEmbedding:
          let embedding = PositionEmbedding(
            channels: size.channels, height: size.height, width: size.width, meter: context.meter)
          return [.positions(AddPositionEmbedding(embedding))]
        case .attention(let heads, let size): return [.attention(heads: heads, size: size)]
        case .residual(let body, let shortcut, _):
          return [.residual(body: try nodes(of: body, input: size), shortcut: try nodes(of: shortcut, input: size))]
        }
      }
    }
    self.nodes = try nodes(of: spec.layers, input: spec.input)
    input = spec.input
    layerCount = weights.count
    self.context = context
  }

  /// Forward and backward on a sample of ones: each layer's part.
  package func flow() throws -> [Flow] {
    var recorded: [(factors: GradientFactors, exponent: Int)?] = .init(repeating: nil, count: layerCount)
    let ones = context.pool.activations(
      ActivationShape(samples: 1, channels: input.channels, height: input.height, width: input.width))
    ones.buffer.update(repeating: 1)
    let (output, back) = try forward(nodes, Scaled(ones, exponent: 0), isInput: true) { recorded[$0] = ($1, $2) }
    let delta = context.pool.activations(output.values.shape)
    delta.buffer.update(repeating: 1)
    let sum = output.values.buffer.reduce(0.0) { $0 + Double($1) }
    _ = try back(Scaled(delta, exponent: 0))
    guard sum > 0, sum.isFinite else { throw EspalierError.diverged("synflow: nothing flows through the network") }
    return try recorded.map { part in
      guard let part else { throw EspalierError.invariant("synflow: a layer saw no gradient") }
      return Flow(
        factors: part.factors, scale: Float(exp2(Double(part.exponent - output.exponent)) / sum))
    }
  }

  /// values * 2^exponent
  private struct Scaled {
    var values: Activations
    var exponent: Int

    init(_ values: Activations, exponent: Int) {
      self.values = values
      self.exponent = exponent
    }

    /// The same with a largest value in 1 ..< 2; in new memory where that changes anything.
    func normalized(_ pool: ActivationPool) -> Scaled {
      let largest = values.buffer.reduce(0) { max($0, $1) }
      guard largest > 0, largest.isFinite, largest.exponent != 0 else { return self }
      // In two steps, as the power itself may not be a number.
      let half = -Int(largest.exponent) / 2
      let first = Float(sign: .plus, exponent: half, significand: 1)
      let second = Float(sign: .plus, exponent: -Int(largest.exponent) - half, significand: 1)
      let result = pool.activations(values.shape)
      for i in values.buffer.indices { result.buffer[i] = values.buffer[i] * first * second }
      return Scaled(result, exponent: exponent + Int(largest.exponent))
    }

    /// The sum, in new memory.
    func adding(_ other: Scaled, pool: ActivationPool) -> Scaled {
      let common = max(exponent, other.exponent)
      let (a, b) = (exp2(Double(exponent - common)), exp2(Double(other.exponent - common)))
      let sum = pool.activations(values.shape)
      for i in sum.buffer.indices {
        sum.buffer[i] = Float(Double(values.buffer[i]) * a + Double(other.values.buffer[i]) * b)
      }
      return Scaled(sum, exponent: common).normalized(pool)
    }
  }

  private typealias Backward = (Scaled) throws -> Scaled?
  private typealias Record = (_ layer: Int, GradientFactors, _ exponent: Int) -> Void

  private func forward(
    _ nodes: [Node], _ x: Scaled, isInput: Bool, record: @escaping Record
  ) throws -> (Scaled, Backward) {
    var (x, isInput) = (x, isInput)
    var steps: [Backward] = []
    for node in nodes {
      let (y, back) = try forward(node, x, isInput: isInput, record: record)
      x = y
      steps.append(back)
      if case .weights = node { isInput = false }
    }
    return (
      x,
      { delta in
        try steps.reversed().reduce(delta as Scaled?) { delta, step in try delta.flatMap { try step($0) } }
      }
    )
  }

  private func forward(
    _ node: Node, _ x: Scaled, isInput: Bool, record: @escaping Record
  ) throws -> (Scaled, Backward) {
    switch node {
    case .weights(let layer, let index): return try run(layer, x, isInput: isInput) { record(index, $0, $1) }
    case .plain(let layer): return try run(layer, x, isInput: false) { _, _ in }
    case .scale(let factor): return (scaled(x, by: factor), { scaled($0, by: factor) })
    case .positions(let layer): return (try addPositions(layer, x), { $0 })
    case .attention(let heads, let size):
      let attention = LinearAttention(heads: heads, size: size, tokens: x.values.shape.tokens)
      let y = context.pool.activations(x.values.shape.with(channels: heads * size))
      attention.forward(x.values, into: y)
      return (
        Scaled(y, exponent: 3 * x.exponent).normalized(context.pool),
        { delta in
          let gradient = context.pool.activations(x.values.shape)
          attention.backward(x.values, delta: delta.values, into: gradient)
          return Scaled(gradient, exponent: delta.exponent + 2 * x.exponent).normalized(context.pool)
        }
      )
    case .residual(let body, let shortcut):
      let (y, back) = try forward(body, x, isInput: false, record: record)
      let (skip, skipBack) = try forward(shortcut, x, isInput: false, record: record)
      return (
        y.adding(skip, pool: context.pool),
        { delta in
          guard let a = try back(delta), let b = try skipBack(delta) else { return nil }
          return a.adding(b, pool: context.pool)
        }
      )
    }
  }

  /// A layer on a tape of its own, which keeps exponents apart.
  private func run(
    _ layer: any Layer, _ x: Scaled, isInput: Bool, record: @escaping (GradientFactors, Int) -> Void
  ) throws -> (Scaled, Backward) {
    let tape = Tape(context: context, mode: .training(step: 0))
    let input = isInput ? Variable(x.values) : tape.input(x.values)
    let y = try layer(input, on: tape)
    let output = Scaled(y.value, exponent: x.exponent).normalized(context.pool)
    return (
      output,
      { delta in
        tape.gradientFactorsVisitor = { record($1, x.exponent + delta.exponent) }
        let gradient = try tape.backward(from: y, gradient: delta.values, sources: isInput ? [] : [input])
        return gradient.first.flatMap { $0 }.map { Scaled($0, exponent: delta.exponent).normalized(context.pool) }
      }
    )
  }

  private func scaled(_ x: Scaled, by factor: Float) -> Scaled {
    let y = context.pool.activations(x.values.shape)
    for i in y.buffer.indices { y.buffer[i] = x.values.buffer[i] * factor }
    return Scaled(y, exponent: x.exponent)
  }

  private func addPositions(_ layer: any Layer, _ x: Scaled) throws -> Scaled {
    let zeros = context.pool.activations(x.values.shape)
    zeros.buffer.update(repeating: 0)
    let embedding = try layer(Variable(zeros), on: Tape(context: context, mode: .evaluation)).value
    for i in embedding.buffer.indices { embedding.buffer[i] = abs(embedding.buffer[i]) }
    return x.adding(Scaled(embedding, exponent: 0), pool: context.pool)
  }
}

/// Attention whose softmax is the identity: y = q k' v / sqrt(size), of one sample.
private struct LinearAttention {
  let heads: Int
  let size: Int
  let tokens: Int

  private var stride: Int { 3 * heads * size }
  private var scale: Float { 1 / Float(size).squareRoot() }

  /// The scores q k' / sqrt(size) of a head: [query, key].
  private func scores(_ x: UnsafeMutablePointer<Float>, head: Int) -> [Float] {
    var result = [Float](repeating: 0, count: tokens * tokens)
    for query in 0..<tokens {
      for key in 0..<tokens {
        var sum: Float = 0
        for i in 0..<size {
          sum += x[query * stride + head * size + i] * x[key * stride + (heads + head) * size + i]
        }
        result[query * tokens + key] = sum * scale
      }
    }
    return result
  }

  func forward(_ x: Activations, into y: Activations) {
    y.buffer.update(repeating: 0)
    for head in 0..<heads {
      let scores = scores(x.pointer, head: head)
      for query in 0..<tokens {
        for key in 0..<tokens {
          for i in 0..<size {
            y.pointer[(query * heads + head) * size + i] +=
              scores[query * tokens + key] * x.pointer[key * stride + (2 * heads + head) * size + i]
          }
        }
      }
    }
  }

  func backward(_ x: Activations, delta: Activations, into gradient: Activations) {
    gradient.buffer.update(repeating: 0)
    let (x, delta, gradient) = (x.pointer, delta.pointer, gradient.pointer)
    for head in 0..<heads {
      let scores = scores(x, head: head)
      for query in 0..<tokens {
        for key in 0..<tokens {
          let (q, k) = (query * stride + head * size, key * stride + (heads + head) * size)
          let (v, d) = (key * stride + (2 * heads + head) * size, (query * heads + head) * size)
          var share: Float = 0
          for i in 0..<size {
            share += delta[d + i] * x[v + i]
            gradient[v + i] += scores[query * tokens + key] * delta[d + i]
          }
          share *= scale
          for i in 0..<size {
            gradient[q + i] += share * x[k + i]
            gradient[k + i] += share * x[q + i]
          }
        }
      }
    }
  }
}
