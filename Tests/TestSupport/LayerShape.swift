/// Activations in blocks of `lanes` samples: [blocks, channels, positions, lanes], samples innermost.
public struct LayerShape: Sendable, CustomStringConvertible {
  public let channels, positions, samples, lanes: Int

  public init(channels: Int, positions: Int, samples: Int, lanes: Int) {
    self.channels = channels
    self.positions = positions
    self.samples = samples
    self.lanes = lanes
  }

  public static let allLanes = [1, 8, 16, 32]

  public var blocks: Int { (samples + lanes - 1) / lanes }
  public var count: Int { blocks * channels * positions * lanes }
  public var description: String { "\(channels)x\(positions), \(samples) samples in lanes of \(lanes)" }

  public func index(_ sample: Int, _ channel: Int, _ position: Int) -> Int {
    ((sample / lanes * channels + channel) * positions + position) * lanes + sample % lanes
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
