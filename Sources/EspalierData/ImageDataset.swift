/// A data set of labelled images.
public struct ImageDataset: Sendable {
  /// The name in the catalog.
  public let name: String

  /// Whether the images were made up rather than measured; every result must say so.
  public let isSynthetic: Bool

  /// Number of classes; labels lie in 0 ..< classes.
  public let classes: Int

  /// The size of one image as stored, before any padding or repeating of channels. Pictures in files have sizes of their own and
  /// are made as large as the model's input; this is then what they are by default.
  public let channels, height, width: Int

  /// What is trained on.
  public let train: ImageSplit
  /// What is tested on.
  public let test: ImageSplit

  /// Number of images, training and test together.
  public var count: Int { train.count + test.count }

  /// - Precondition: both splits keep their images alike; in memory they are of channels * height * width pixels.
  public init(
    name: String, isSynthetic: Bool, classes: Int, channels: Int, height: Int, width: Int, train: ImageSplit,
    test: ImageSplit
  ) {
    let pixels = channels * height * width
    for split in [train, test] {
      switch split.storage {
      case .bytes(let images): precondition(split.count == 0 || images.count % pixels == 0)
      case .floats(let images): precondition(split.count == 0 || images.count % (4 * pixels) == 0)
      case .files: break
      }
    }
    self.name = name
    self.isSynthetic = isSynthetic
    self.classes = classes
    self.channels = channels
    self.height = height
    self.width = width
    self.train = train
    self.test = test
  }

  /// What a log should say of images that could not be decoded until now: a count, then the first of them, a line each.
  public var damageLines: [String] {
    let damaged = damagedImages
    guard !damaged.isEmpty else { return [] }
    let listed = damaged.prefix(100)
    return [
      "\(damaged.count) images cannot be decoded; training takes others in their place, evaluation leaves them out"
    ]
      + listed.map { "cannot decode \($0.path): \($0.reason)" }
      + (damaged.count > listed.count ? ["and \(damaged.count - listed.count) more"] : [])
  }

  /// Images that could not be decoded until now, by path: those that training replaced and evaluation left out.
  public var damagedImages: [DamagedImage] {
    [train, test].flatMap { split -> [DamagedImage] in
      guard case .files(let files) = split.storage else { return [] }
      return files.damaged
    }
  }
}
