import EspLayers
import Foundation

/// What tells a transformer where on the grid a token lies: [height * width, channels], the same for each sample and not trained.
///
/// With j = 0 ..< channels / 4 and omega_j = 10000^(-j / (channels / 4 - 1)), the channels are sin(column * omega), cos(column * omega),
/// sin(row * omega), cos(row * omega), a quarter each (Beyer, Zhai, Kolesnikov 2022, arXiv 2205.01580).
public final class PositionEmbedding {
  /// Features a token, a multiple of 4; rows and columns of the grid of tokens.
  public let channels, height, width: Int
  /// [height, width, channels]
  package let values: MeteredBuffer<Float>

  /// - Precondition: channels is a multiple of 4 and at least 8.
  public init(channels: Int, height: Int, width: Int, meter: AllocationMeter) {
    precondition(channels % 4 == 0 && channels >= 8)
    self.channels = channels
    self.height = height
    self.width = width
    values = MeteredBuffer(count: channels * height * width, tag: .activation, site: nil, meter: meter)
    let quarter = channels / 4
    for channel in 0..<channels {
      let omega = pow(10_000, -Double(channel % quarter) / Double(quarter - 1))
      for row in 0..<height {
        for column in 0..<width {
          let angle = Double(channel / quarter < 2 ? column : row) * omega
          values.pointer[(row * width + column) * channels + channel] =
            Float(channel / quarter % 2 == 0 ? sin(angle) : cos(angle))
        }
      }
    }
  }
}

extension Tape {
  /// Squares of `size` x `size` pixels as tokens: [samples, channels, height, width] to [samples, (height / size) * (width /
  /// size), size * size * channels], feature (i * size + j) * channels + c being pixel (i, j) of channel c.
  public func patches(_ x: Variable, size: Int) throws -> Variable {
    let inputShape = x.shape
    guard size > 0, inputShape.tokens == 1, inputShape.height % size == 0, inputShape.width % size == 0 else {
      throw EspalierError.usage(
        "patches: \(inputShape.height) x \(inputShape.width) pixels do not divide into squares of \(size) x \(size)")
    }
    let context = context
    let shape = esp_patch_shape(
      blocks: inputShape.blocks, channels: inputShape.channels, height: inputShape.height, width: inputShape.width,
      patch: size, lanes: inputShape.lanes)
    let output = context.pool.activations(
      inputShape.with(
        tokens: inputShape.height / size * (inputShape.width / size), channels: inputShape.channels * size * size))
    withUnsafePointer(to: shape) {
      esp_patches_forward(context.isa, x.value.pointer, $0, output.pointer, context.threadCount)
    }
    let needsGradient = x.needsGradient
    return record(output, inputs: [x]) { delta in
      guard needsGradient else { return [nil] }
      let gradient = context.pool.activations(inputShape)
      withUnsafePointer(to: shape) {
        esp_patches_backward(context.isa, delta.pointer, $0, gradient.pointer, context.threadCount)
      }
      return [gradient]
    }
  }

  /// y = x + embedding, the same for each sample; dx = dy.
  public func addPositionEmbedding(_ x: Variable, _ embedding: PositionEmbedding) throws -> Variable {
    let shape = x.shape
    guard shape.channels == embedding.channels, shape.tokens == embedding.height * embedding.width, shape.positions == 1
    else {
      throw EspalierError.usage(
        "position embedding: expected \(embedding.height) x \(embedding.width) tokens of \(embedding.channels) features, found \(shape.tokens) of \(shape.features)"
      )
    }
    let output = context.pool.activations(shape)
    esp_add_positions(
      context.isa, x.value.pointer, embedding.values.pointer, shape.sampleBlocks, shape.tokens, shape.channels,
      shape.lanes, output.pointer, context.threadCount)
    return record(output, inputs: [x]) { [$0] }
  }

  /// Each feature's mean over the tokens: [samples, features].
  func meanOfTokens(_ x: Variable) -> Variable {
    let shape = x.shape
    let context = context
    let output = context.pool.activations(shape.with(tokens: 1, channels: shape.channels))
    esp_mean_of_tokens_forward(
      context.isa, x.value.pointer, shape.sampleBlocks, shape.tokens, shape.channels, shape.lanes, output.pointer,
      context.threadCount)
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(shape)
      esp_mean_of_tokens_backward(
        context.isa, delta.pointer, shape.sampleBlocks, shape.tokens, shape.channels, shape.lanes, gradient.pointer,
        context.threadCount)
      return [gradient]
    }
  }
}
