import EspalierCore

/// Reads IDX files, plain or gzip: `00 00 type rank`, `rank` big-endian 32-bit dimensions, then the data in row-major
/// order. Source: the format's description on the MNIST database's page (LeCun, Cortes, Burges).
public enum IDXFile {
  /// Magic numbers: unsigned bytes (type 8) of rank 3 and of rank 1.
  private static let imageMagic: UInt32 = 2051
  private static let labelMagic: UInt32 = 2049

  /// Grey images: `pixels` is [count, height, width].
  public struct Images: Sendable {
    /// Number of images, and the rows and columns of each.
    public let count, height, width: Int
    /// [count, height, width], row-major, one byte a pixel.
    public let pixels: PixelBuffer
  }

  /// Reads a file of images straight into one allocation of their size.
  ///
  /// - Throws: `EspalierError.input` if the file is absent or unreadable, not an IDX file of images, of another length
  ///   than its header tells, damaged, or without images. Nothing larger than the file can hold is allocated.
  public static func readImages(path: String) throws -> Images {
    let (dimensions, pixels) = try read(path: path, magic: imageMagic, rank: 3)
    return Images(count: dimensions[0], height: dimensions[1], width: dimensions[2], pixels: pixels)
  }

  /// Reads a file of labels.
  ///
  /// - Throws: `EspalierError.input` as `readImages`, and if a label is not below `classes`.
  public static func readLabels(path: String, classes: Int) throws -> [UInt32] {
    let bytes = try read(path: path, magic: labelMagic, rank: 1).data
    if let index = bytes.firstIndex(where: { Int($0) >= classes }) {
      throw EspalierError.input(
        "\(path): label \(index) is \(bytes[index]), expected 0 ... \(classes - 1); get the file again")
    }
    return bytes.map { UInt32($0) }
  }

  private static func read(path: String, magic: UInt32, rank: Int) throws -> (dimensions: [Int], data: PixelBuffer) {
    let file = try InputFile(path: path)
    let dimensions = try readHeader(file, magic: magic, rank: rank)
    let count = try elementCount(file, dimensions)
    let headerLength = 4 + 4 * rank
    let (length, overflow) = count.addingReportingOverflow(headerLength)
    guard !overflow else { throw file.failure("dimensions \(dimensions) overflow; get the file again") }
    try file.requireLength(length)
    let data = try PixelBuffer(count: count) { try file.read(into: UnsafeMutableRawBufferPointer($0)) }
    try file.requireEnd()
    return (dimensions, data)
  }

  private static func readHeader(_ file: InputFile, magic: UInt32, rank: Int) throws -> [Int] {
    var words = [UInt32](repeating: 0, count: 1)
    try words.withUnsafeMutableBytes { try file.read(into: $0) }
    let found = UInt32(bigEndian: words[0])
    guard found == magic else {
      throw file.failure("expected \(describe(magic)), found \(describe(found)); is it the right file?")
    }
    words = [UInt32](repeating: 0, count: rank)
    try words.withUnsafeMutableBytes { try file.read(into: $0) }
    return words.map { Int(UInt32(bigEndian: $0)) }
  }

  private static func elementCount(_ file: InputFile, _ dimensions: [Int]) throws -> Int {
    guard !dimensions.contains(0) else {
      throw file.failure("expected dimensions above zero, found \(dimensions); get the file again")
    }
    var count = 1
    for dimension in dimensions {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard !overflow else { throw file.failure("dimensions \(dimensions) overflow; get the file again") }
      count = product
    }
    return count
  }

  private static func describe(_ magic: UInt32) -> String {
    switch magic {
    case imageMagic: "the magic number \(magic) (IDX images)"
    case labelMagic: "the magic number \(magic) (IDX labels)"
    default: "the magic number \(magic)"
    }
  }
}
