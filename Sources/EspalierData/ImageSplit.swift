import EspalierCore

/// Images and their labels, for training, for validation or for testing.
public struct ImageSplit: Sendable {
  /// How the images are kept.
  public enum Storage: Sendable {
    /// Pixels, one byte each: [stored, channels, height, width], row-major.
    case bytes(PixelBuffer)
    /// Numbers of 32 bits that are normalised already: [stored, channels, height, width], row-major.
    case floats(PixelBuffer)
    /// Encoded pictures of any size, decoded when a batch needs them.
    case files(ImageFiles)
  }

  /// The images, those that are held out among them.
  public let storage: Storage

  /// The class of each image: [count].
  public let labels: [UInt32]

  /// The number in `storage` of each image; nil where all of them are taken in order.
  private let numbers: [UInt32]?

  /// Number of images.
  public var count: Int { labels.count }

  /// - Precondition: `storage` holds the same whole number of bytes for each label, or a file for each.
  public init(storage: Storage, labels: [UInt32]) {
    switch storage {
    case .bytes(let pixels), .floats(let pixels):
      precondition(labels.isEmpty ? pixels.count == 0 : pixels.count % labels.count == 0)
    case .files(let files): precondition(files.count == labels.count)
    }
    self.init(storage: storage, labels: labels, numbers: nil)
  }

  /// - Precondition: `images` holds the same whole number of bytes for each label.
  public init(images: PixelBuffer, labels: [UInt32]) {
    self.init(storage: .bytes(images), labels: labels)
  }

  private init(storage: Storage, labels: [UInt32], numbers: [UInt32]?) {
    self.storage = storage
    self.labels = labels
    self.numbers = numbers
  }

  /// The pixels as stored, those of images that are held out among them.
  ///
  /// - Precondition: they are kept as bytes.
  public var images: PixelBuffer {
    guard case .bytes(let pixels) = storage else { preconditionFailure("the images are not kept as bytes") }
    return pixels
  }

  /// Calls `body` with the bytes that tell this storage from another, in pieces: the pixels; or the names of the files, then size and
  /// first bytes of some of them, spread over all.
  public func forEachIdentifyingPiece(_ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
    switch storage {
    case .bytes(let pixels), .floats(let pixels):
      try pixels.withUnsafeBufferPointer { try body(UnsafeRawBufferPointer($0)) }
    case .files(let files):
      try files.names.withUnsafeBytes(body)
      try files.forEachSample(body)
    }
  }

  /// The number in `storage` of image number `index`; it stays the same where others are held out.
  ///
  /// - Precondition: index < count.
  public func number(of index: UInt32) -> UInt32 {
    precondition(index < labels.count)
    return numbers?[Int(index)] ?? index
  }
}

extension ImageSplit {
  /// Parts the images in two at random: floor(fraction * count) for validation, the rest for training, both in their first order
  /// and without a copy of any pixel.
  ///
  /// The parts depend on the seed alone.
  /// - Throws: `EspalierError.usage` unless 0 < fraction < 1 and both parts have an image.
  public func heldOut(fraction: Double, random: CounterRandom) throws -> (train: ImageSplit, validation: ImageSplit) {
    guard fraction > 0, fraction < 1 else {
      throw EspalierError.usage("validation: \(fraction) is out of range; expected above 0 and below 1")
    }
    let held = Int(fraction * Double(count))
    guard held > 0 else {
      throw EspalierError.usage(
        "validation: \(fraction) of \(count) training images is less than one; expected at least \(1 / Double(count))")
    }
    // Layer 0 of this purpose orders the epochs.
    let order = random.stream(.shuffle, layer: 1).permutation(count: count)
    return (part(order[held...]), part(order[..<held]))
  }

  private func part(_ indices: ArraySlice<UInt32>) -> ImageSplit {
    let indices = indices.sorted()
    return ImageSplit(
      storage: storage, labels: indices.map { labels[Int($0)] }, numbers: indices.map { number(of: $0) })
  }
}
