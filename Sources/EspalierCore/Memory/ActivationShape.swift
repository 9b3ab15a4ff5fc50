/// The shape of a batch of activations: [blocks of samples, tokens, channels, height, width, lanes], samples innermost.
///
/// `lanes` samples lie side by side, so that one weight multiplies `lanes` contiguous numbers. A vector has height and width 1. A sample
/// of a transformer is several tokens, one vector each; others are one token.
public struct ActivationShape: Sendable, Hashable {
  /// Samples of the batch, padding not counted.
  public let samples: Int
  /// Vectors a sample; 1 for images and plain vectors.
  public let tokens: Int
  /// Channels, or features of a vector or token.
  public let channels: Int
  /// Rows of an image; 1 for a vector.
  public let height: Int
  /// Columns of an image; 1 for a vector.
  public let width: Int
  /// Samples a block: 1, 8, 16 or 32.
  public let lanes: Int

  /// An image (or, by default, vector) shape whose lanes follow from the number of samples.
  public init(samples: Int, tokens: Int = 1, channels: Int, height: Int = 1, width: Int = 1) {
    precondition(samples > 0 && tokens > 0 && channels > 0 && height > 0 && width > 0)
    precondition(tokens == 1 || height * width == 1, "tokens are vectors")
    self.samples = samples
    self.tokens = tokens
    self.channels = channels
    self.height = height
    self.width = width
    lanes = Self.lanes(forSamples: samples)
  }

  /// The same samples, and by default as many tokens, with other features.
  public func with(tokens: Int? = nil, channels: Int, height: Int = 1, width: Int = 1) -> ActivationShape {
    ActivationShape(samples: samples, tokens: tokens ?? self.tokens, channels: channels, height: height, width: width)
  }

  /// Number of blocks of samples; the last may be padded.
  public var sampleBlocks: Int { (samples + lanes - 1) / lanes }
  /// Number of blocks [features, lanes]: one for each token of each block of samples.
  public var blocks: Int { sampleBlocks * tokens }
  /// Positions a channel: height * width.
  public var positions: Int { height * width }
  /// Numbers a token: channels * height * width.
  public var features: Int { channels * positions }
  /// Numbers in all, padding lanes included.
  public var count: Int { blocks * features * lanes }

  /// - Throws: `EspalierError.usage` where samples are several tokens, which `operation` does not take.
  package func requireOneToken(_ operation: @autoclosure () -> String) throws {
    guard tokens == 1 else {
      throw EspalierError.usage("\(operation()): expected images or vectors, found \(tokens) tokens a sample")
    }
  }

  /// The widest block that pads at most a quarter; a pure function of the number of samples, so that results repeat.
  static func lanes(forSamples samples: Int) -> Int {
    if samples == 1 { return 1 }
    for lanes in [32, 16] where (samples + lanes - 1) / lanes * lanes * 4 <= samples * 5 { return lanes }
    return 8
  }
}
