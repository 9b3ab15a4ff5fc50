/// A data set of labelled images, kept as the bytes that were stored.
public struct ImageDataset: Sendable {
  /// The name in the catalog.
  public let name: String

  /// Whether the images were made up rather than measured; every result must say so.
  public let isSynthetic: Bool

  /// Number of classes; labels lie in 0 ..< classes.
  public let classes: Int

  /// The size of one image as stored, before any padding or repeating of channels.
  public let channels, height, width: Int

  public let train: ImageSplit
  public let test: ImageSplit

  /// Number of images, training and test together.
  public var count: Int { train.count + test.count }

  /// - Precondition: both splits hold channels * height * width bytes an image.
  public init(
    name: String, isSynthetic: Bool, classes: Int, channels: Int, height: Int, width: Int, train: ImageSplit,
    test: ImageSplit
  ) {
    let pixels = channels * height * width
    precondition(train.images.count == train.count * pixels && test.images.count == test.count * pixels)
    self.name = name
    self.isSynthetic = isSynthetic
    self.classes = classes
    self.channels = channels
    self.height = height
    self.width = width
    self.train = train
    self.test = test
  }
}
