/// The shape of a batch of activations: [blocks, channels, height, width, lanes], samples innermost.
///
/// `lanes` samples lie side by side, so that one weight multiplies `lanes` contiguous numbers. A vector has height and width 1.
public struct ActivationShape: Sendable, Hashable {
  public let samples: Int
  public let channels: Int
  public let height: Int
  public let width: Int
  /// Samples a block: 1, 8, 16 or 32.
  public let lanes: Int

  /// An image (or, by default, vector) shape whose lanes follow from the number of samples.
  public init(samples: Int, channels: Int, height: Int = 1, width: Int = 1) {
    precondition(samples > 0 && channels > 0 && height > 0 && width > 0)
    self.samples = samples
    self.channels = channels
    self.height = height
    self.width = width
    lanes = Self.lanes(forSamples: samples)
  }

  /// The same samples with other features.
  public func with(channels: Int, height: Int = 1, width: Int = 1) -> ActivationShape {
    ActivationShape(samples: samples, channels: channels, height: height, width: width)
  }

  /// Number of blocks of samples; the last may be padded.
  public var blocks: Int { (samples + lanes - 1) / lanes }
  /// Positions a channel: height * width.
  public var positions: Int { height * width }
  /// Numbers a sample: channels * height * width.
  public var features: Int { channels * positions }
  /// Numbers in all, padding lanes included.
  public var count: Int { blocks * features * lanes }

  /// The widest block that pads at most a quarter; a pure function of the number of samples, so that results repeat.
  static func lanes(forSamples samples: Int) -> Int {
    if samples == 1 { return 1 }
    for lanes in [32, 16] where (samples + lanes - 1) / lanes * lanes * 4 <= samples * 5 { return lanes }
    return 8
  }
}
