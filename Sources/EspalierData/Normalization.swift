/// What turns a byte into a network's input, for each channel: (byte / 255 - mean) / deviation.
public struct Normalization: Sendable, Hashable {
  /// Of each channel, of pixels in 0 ... 1.
  public let mean: [Float]
  /// Each channel's standard deviation, above zero.
  public let deviation: [Float]

  /// - Precondition: one mean and one positive deviation a channel.
  public init(mean: [Float], deviation: [Float]) {
    precondition(mean.count == deviation.count && deviation.allSatisfy { $0 > 0 })
    self.mean = mean
    self.deviation = deviation
  }

  /// Bytes become 0 ... 1, whatever the number of channels.
  public static let none = Normalization(mean: [0], deviation: [1])
}
