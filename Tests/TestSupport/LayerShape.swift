/// Activations in blocks of `lanes` samples: [blocks, channels, positions, lanes], or [blocks, positions, channels, lanes] where positions
/// are tokens; samples innermost.
public struct LayerShape: Sendable, CustomStringConvertible {
  public let channels, positions, samples, lanes: Int
  public let areTokens: Bool

  public init(channels: Int, positions: Int, samples: Int, lanes: Int, areTokens: Bool = false) {
    self.channels = channels
    self.positions = positions
    self.samples = samples
    self.lanes = lanes
    self.areTokens = areTokens
  }

  public static let allLanes = [1, 8, 16, 32]

  public var blocks: Int { (samples + lanes - 1) / lanes }
  public var count: Int { blocks * channels * positions * lanes }
  public var description: String { "\(channels)x\(positions), \(samples) samples in lanes of \(lanes)" }

  public func index(_ sample: Int, _ channel: Int, _ position: Int) -> Int {
    let feature = areTokens ? position * channels + channel : channel * positions + position
    return (sample / lanes * channels * positions + feature) * lanes + sample % lanes
  }

  /// Whether element `index` belongs to a lane beyond `samples`.
  public func isPadding(_ index: Int) -> Bool {
    index / (channels * positions * lanes) * lanes + index % lanes >= samples
  }

  /// Indices of one channel's real elements.
  public func elements(ofChannel channel: Int) -> [Int] {
    (0..<samples).flatMap { sample in (0..<positions).map { index(sample, channel, $0) } }
  }

  /// Puts `value` into the padding lanes.
  public func padded(_ values: [Float], with value: Float) -> [Float] {
    values.indices.map { isPadding($0) ? value : values[$0] }
  }
}
