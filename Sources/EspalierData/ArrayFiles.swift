import EspalierCore

/// A user's own data set in four NumPy files.
///
/// Images are [N, channels, height, width], or [N, height, width] of one channel: `float32`, taken as normalised already, or `uint8`,
/// divided by 255 and nothing else. Labels are N whole numbers from 0 on, of any integer type. There are as many classes as the
/// largest label tells, and at least two.
struct ArrayFiles {
  /// A label must lie below this.
  private static let mostClasses = 1 << 20

  private let train, test: Part
  /// The set as it was found.
  let description: DatasetDescription

  /// The images and labels of one split.
  private struct Part {
    let images: NumPyFile
    let labels: [UInt32]

    /// [channels, height, width] of an image.
    var size: [Int] { images.shape.count == 3 ? [1] + images.shape[1...] : Array(images.shape[1...]) }
  }

  /// Opens the files, checks their shapes and reads the labels.
  ///
  /// - Throws: `EspalierError.input` that names the file.
  init(_ published: DatasetDescription, _ paths: [DatasetFile: String]) throws {
    func part(isTraining: Bool) throws -> Part {
      func path(_ content: DatasetFile.Content) throws -> String {
        let file = published.files.first { $0.isTraining == isTraining && $0.content == content }
        guard let path = file.flatMap({ paths[$0] }) else {
          throw EspalierError.invariant("data set \(published.name) lists no file of \(content)")
        }
        return path
      }
      let images = try Self.images(path(.images))
      return Part(images: images, labels: try Self.labels(path(.labels), count: images.shape[0]))
    }
    train = try part(isTraining: true)
    test = try part(isTraining: false)
    guard train.size == test.size, train.images.type == test.images.type else {
      throw EspalierError.input(
        "\(test.images.path): expected \(train.images.type.name) images of \(train.size) as in training, found \(test.images.type.name) of \(test.size)"
      )
    }
    var found = published
    found.classes = max(2, Int((train.labels + test.labels).max() ?? 0) + 1)
    (found.channels, found.height, found.width) = (train.size[0], train.size[1], train.size[2])
    (found.trainCount, found.testCount) = (train.labels.count, test.labels.count)
    description = found
  }

  /// Opens a file of images.
  static func images(_ path: String) throws -> NumPyFile {
    let file = try NumPyFile(path: path)
    guard file.type == .float32 || file.type == .uint8 else {
      throw EspalierError.input(
        "\(path): expected float32 (normalised) or uint8, found \(file.type.name); save x.astype('float32')")
    }
    let shape = file.shape
    guard (3...4).contains(shape.count), !shape.contains(0), shape[0] <= Int(UInt32.max),
      shape[1...].allSatisfy({ $0 <= 1 << 16 })
    else {
      throw EspalierError.input(
        "\(path): expected N x C x H x W, all above zero, found shape \(shape); reshape the array")
    }
    return file
  }

  /// Reads a file of labels.
  ///
  /// - Parameter count: as many as there are images; nil where that does not matter.
  static func labels(_ path: String, count: Int? = nil) throws -> [UInt32] {
    let file = try NumPyFile(path: path)
    guard file.shape.count == 1, count == nil || file.shape[0] == count else {
      let expected = count.map { "\($0)" } ?? "N"
      throw EspalierError.input("\(path): expected shape [\(expected)], a label an image, found \(file.shape)")
    }
    let labels = try file.integers()
    if let index = labels.firstIndex(where: { !(0..<mostClasses).contains($0) }) {
      throw EspalierError.input(
        "\(path): label \(index) is \(labels[index]), expected 0 ... \(mostClasses - 1); number the classes from 0 on")
    }
    return labels.map { UInt32($0) }
  }

  /// Reads the images.
  func load() throws -> ImageDataset {
    ImageDataset(description, train: try split(train), test: try split(test))
  }

  private func split(_ part: Part) throws -> ImageSplit {
    let values = try Self.values(of: part.images)
    let storage: ImageSplit.Storage = part.images.type == .float32 ? .floats(values) : .bytes(values)
    return ImageSplit(storage: storage, labels: part.labels)
  }

  /// Reads a file of images whole.
  static func readImages(_ path: String) throws -> NumPyFile {
    let file = try images(path)
    _ = try values(of: file)
    return file
  }

  private static func values(of file: NumPyFile) throws -> PixelBuffer {
    let values = try PixelBuffer(count: file.count * file.type.byteWidth) {
      try file.read(into: UnsafeMutableRawBufferPointer($0))
    }
    guard file.type == .float32 else { return values }
    let bad = values.withUnsafeFloats { $0.firstIndex { !$0.isFinite } }
    if let bad {
      throw EspalierError.input(
        "\(file.path): number \(bad), of image \(bad / (file.count / file.shape[0])), is infinite or NaN; expected finite numbers"
      )
    }
    return values
  }
}
