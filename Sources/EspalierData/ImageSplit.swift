/// Images and their labels, for training or for testing.
public struct ImageSplit: Sendable {
  /// Pixels, one byte each: [count, channels, height, width], row-major.
  public let images: PixelBuffer

  /// The class of each image: [count].
  public let labels: [UInt32]

  /// Number of images.
  public var count: Int { labels.count }

  /// - Precondition: `images` holds the same whole number of bytes for each label.
  public init(images: PixelBuffer, labels: [UInt32]) {
    precondition(labels.isEmpty ? images.count == 0 : images.count % labels.count == 0)
    self.images = images
    self.labels = labels
  }
}
